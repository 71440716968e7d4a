/* Progress of long work on stderr: a bar where stderr is a terminal, else a plain line now and then, and none
 * at all for work that is over soon. Nothing of the bar stays behind. */
#ifndef MIA_CLI_PROGRESS_H
#define MIA_CLI_PROGRESS_H

#include <stdbool.h>

typedef struct mia__cli_progress {
    const char *what; /* "loading story.gguf" */
    bool terminal;
    bool shown;   /* a bar is on the screen */
    double began; /* seconds of mia__cli_seconds */
    double last;  /* when something was last written */
} mia__cli_progress;

/* `what` must outlive the progress. */
mia__cli_progress mia__cli_progress_begin(const char *what);

/* `note` stands after the percentage; may be "". */
void mia__cli_progress_show(mia__cli_progress *progress, double fraction, const char *note);

/* Wipes the bar. */
void mia__cli_progress_end(mia__cli_progress *progress);

/* A mia_progress whose user pointer is a mia__cli_progress: shows, and cancels once a signal was caught. */
bool mia__cli_progress_callback(void *user, double fraction);

#endif
