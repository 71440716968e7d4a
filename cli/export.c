/* `mia export`: a model's step as a tape in a file. */
#include "commands.h"
#include "open.h"

#include <stdio.h>

int mia__cli_export(int argc, char **argv) {
    mia__cli_model_options model_options = {.unloaded = true};
    const char *path = NULL, *to = NULL;
    bool step = false, without_weights = false;
    int64_t rows = 1;
    const mia__cli_argument arguments[] = {{"MODEL.gguf", true, &path, "the model"}};
    const mia__cli_option options[] = {
        {"--step", MIA__CLI_FLAG, &step, NULL, "what the model does with some tokens, caches in and out", 0,
         0},
        {"-o", MIA__CLI_STRING, &to, "FILE.mia", "where the tape goes", 0, 0},
        {"--rows", MIA__CLI_INTEGER, &rows, "N", "tokens of a step (default: 1)", 1, 1 << 20},
        MIA__CLI_CONTEXT_OPTION(&model_options,
                                "tokens that the caches have room for (default: the model's, 4096 at most)"),
        {"--without-weights", MIA__CLI_FLAG, &without_weights, NULL,
         "leave the weights in the model's file, which mia exec --weights then needs", 0, 0},
        MIA__CLI_DEVICE_OPTION(&model_options),
        MIA__CLI_MEMORY_OPTION(&model_options),
    };
    const mia__cli_command command = {.name = "export",
                                      .summary = "Writes a model's step as a tape, which mia exec runs.",
                                      .arguments = arguments,
                                      .argument_count = 1,
                                      .options = options,
                                      .option_count = sizeof options / sizeof options[0]};
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    if (!step || to == NULL)
        return mia__cli_misuse("export", "%s is missing", !step ? "--step" : "-o FILE.mia");
    mia__cli_model model = {.device = NULL};
    code = mia__cli_open_weights("export", path, &model);
    if (code >= 0) return code;
    int64_t trained = mia__cli_trained_context(model.weights);
    if (model_options.context == 0) model_options.context = trained > 0 && trained < 4096 ? trained : 4096;
    code = mia__cli_open_model("export", &model_options, &model);
    if (code >= 0) return code;
    mia_error error = {0};
    mia_tape *tape = NULL;
    mia_status status = mia_lm_record_step(model.lm, rows, model_options.context, &tape, &error);
    if (status == MIA_OK)
        status =
            mia_tape_save(tape, to, &(mia_tape_save_options){.without_weights = without_weights}, &error);
    mia_tape_close(tape);
    code = status == MIA_OK ? MIA__CLI_OK : mia__cli_fail("export", "%s", error.message);
    mia__cli_close_model("export", &model);
    return code;
}
