/* A model on a device of its own, for tests of whole models. Included after cmocka.h. */
#ifndef MIA_TEST_SUPPORT_LM_SESSION_H
#define MIA_TEST_SUPPORT_LM_SESSION_H

#include "support/ok.h"

#include <mia/mia.h>

typedef struct session {
    mia_device *device;
    mia_weights *weights;
    mia_lm *lm;
} session;

/* Takes the weights over. */
static inline session open_session(mia_weights *weights, const mia_device_options *device,
                                   const mia_lm_options *options) {
    session s = {.weights = weights};
    mia_error error;
    assert_non_null(weights);
    OK(mia_device_open(device, &s.device, &error));
    OK(mia_lm_open(s.device, weights, options, &s.lm, &error));
    return s;
}

static inline mia_weights *open_weights(const char *path) {
    mia_weights *weights = NULL;
    mia_error error;
    OK(mia_weights_open_file(path, NULL, &weights, &error));
    return weights;
}

static inline void close_session(session *s) {
    mia_error error;
    mia_lm_close(s->lm);
    mia_weights_close(s->weights);
    OK(mia_device_close(s->device, &error));
}

#endif
