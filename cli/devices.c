/* `mia devices`: the backends of this build that --device takes, what each finds on this machine, and its GPUs. */
#include "commands.h"
#include "common.h"
#include "open.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_device(const mia_backend_info *backend) {
    mia_device *device = NULL;
    mia_error error = {0};
    mia_device_options options = {.backend = backend->name};
    printf("%-11s%s\n", backend->name, backend->description);
    if (mia_device_open(&options, &device, &error) != MIA_OK) {
        printf("%-11snot available: %s\n", "", error.message);
        return;
    }
    mia_device_info info = mia_device_describe(device);
    if (strcmp(info.description, backend->description) != 0) printf("%-11s%s\n", "", info.description);
    if (mia_device_close(device, &error) != MIA_OK) (void)mia__cli_fail("devices", "%s", error.message);
}

/* The GPUs that the webgpu backend finds, or why it finds none. */
static void print_adapters(void) {
    enum { MOST = 8 };
    mia_webgpu_adapter adapters[MOST];
    size_t count = 0;
    mia_error error = {0};
    if (mia_webgpu_adapters(NULL, adapters, MOST, &count, &error) != MIA_OK) {
        printf("GPUs       none\n"); /* the backend has said why */
        return;
    }
    printf("GPUs       through %s\n", adapters[0].library);
    for (size_t i = 0; i < count && i < MOST; i++) {
        const mia_webgpu_adapter *adapter = &adapters[i];
        printf("%-11s%s%s\n", "", adapter->name, adapter->processor ? " (computes on the CPU)" : "");
        printf("%-13s%s\n%-13s%s\n%-13s%s\n", "", adapter->driver, "", adapter->features_text, "",
               adapter->limits_text);
    }
}

int mia__cli_devices(int argc, char **argv) {
    static const mia__cli_command command = {
        .name = "devices",
        .summary = "Lists what --device takes, the preferred first, with what is found on this machine.",
    };
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    const mia_backend_info *backend;
    for (size_t i = 0; (backend = mia__cli_backend(i)) != NULL; i++) print_device(backend);
    print_adapters();
    return MIA__CLI_OK;
}
