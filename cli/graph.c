/* `mia graph`: draws a tape, or a model's step. SVG is made by Graphviz, where that is installed. */
#include "commands.h"
#include "open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct graph_options {
    mia__cli_model_options model;
    const char *path, *format, *to;
    bool plan;
    int64_t rows;
} graph_options;

static int parse_options(graph_options *o, int argc, char **argv) {
    const mia__cli_argument arguments[] = {
        {"FILE", true, &o->path, "a tape (.mia), or a model, whose step is drawn"}};
    const mia__cli_option options[] = {
        {"--format", MIA__CLI_STRING, &o->format, "NAME", "mermaid (the default), dot, svg or json", 0, 0},
        {"--plan", MIA__CLI_FLAG, &o->plan, NULL, "the steps that run, with their buffers and bytes", 0, 0},
        {"-o", MIA__CLI_STRING, &o->to, "FILE", "where the drawing goes (default: standard output)", 0, 0},
        {"--rows", MIA__CLI_INTEGER, &o->rows, "N", "tokens of a model's step (default: 1)", 1, 1 << 20},
        MIA__CLI_CONTEXT_OPTION(&o->model, "tokens that the step's caches have room for (default: 256)"),
        MIA__CLI_DEVICE_OPTION(&o->model),
    };
    const mia__cli_command command = {
        .name = "graph",
        .summary = "Draws a tape, or a model's step.",
        .arguments = arguments,
        .argument_count = 1,
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes =
            "Inputs are blue, outputs green, constants grey; contractions red, norms and attention violet,\n"
            "reductions orange, element-wise operations yellow, movement white. Views stand at the "
            "arrows.\n"};
    return mia__cli_parse(&command, argc, argv);
}

static void write_text(void *user, const char *text, size_t length) {
    (void)fwrite(text, 1, length, user);
}

static int draw_into(const graph_options *o, mia_tape *tape, mia_drawing_format format, FILE *file) {
    mia_error error = {0};
    if (mia_tape_draw(tape, format, o->plan, write_text, file, &error) == MIA_OK) return MIA__CLI_OK;
    return mia__cli_fail("graph", "%s", error.message);
}

/* Through Graphviz's `dot`, which reads what is drawn and writes the SVG. */
static int draw_svg(const graph_options *o, mia_tape *tape) {
    if (system("command -v dot >/dev/null 2>&1") != 0)
        return mia__cli_fail("graph",
                             "svg is made by Graphviz, which is not installed (Debian's package graphviz)");
    if (o->to != NULL && freopen(o->to, "wb", stdout) == NULL)
        return mia__cli_fail("graph", "%s: cannot open: %s", o->to, strerror(errno));
    FILE *pipe = popen("dot -Tsvg", "w");
    if (pipe == NULL) return mia__cli_fail("graph", "dot cannot be run: %s", strerror(errno));
    int code = draw_into(o, tape, MIA_DRAWING_DOT, pipe);
    int status = pclose(pipe);
    if (code == MIA__CLI_OK && status != 0) code = mia__cli_fail("graph", "dot failed");
    return code;
}

static int draw(const graph_options *o, mia_tape *tape) {
    static const char *const names[] = {"mermaid", "dot", "json"};
    if (strcmp(o->format, "svg") == 0) return draw_svg(o, tape);
    int format = 0;
    while (format < 2 && strcmp(o->format, names[format]) != 0) format++;
    if (o->to == NULL) return draw_into(o, tape, (mia_drawing_format)format, stdout);
    FILE *file = fopen(o->to, "wb");
    if (file == NULL) return mia__cli_fail("graph", "%s: cannot open: %s", o->to, strerror(errno));
    int code = draw_into(o, tape, (mia_drawing_format)format, file);
    bool good = ferror(file) == 0;
    good = fclose(file) == 0 && good;
    return code == MIA__CLI_OK && !good
               ? mia__cli_fail("graph", "%s: cannot write: %s", o->to, strerror(errno))
               : code;
}

static int draw_model(const graph_options *o, mia__cli_model *model) {
    mia_error error = {0};
    mia_tape *tape = NULL;
    int code = mia__cli_open_model("graph", &o->model, model);
    if (code >= 0) return code;
    if (mia_lm_record_step(model->lm, o->rows, o->model.context, &tape, &error) == MIA_OK)
        code = draw(o, tape);
    else
        code = mia__cli_fail("graph", "%s", error.message);
    mia_tape_close(tape);
    mia__cli_close_model("graph", model);
    return code;
}

static int draw_tape(const graph_options *o, mia_weights *file) {
    mia_error error = {0};
    mia_device *device = NULL;
    mia_tape *tape = NULL;
    mia_webgpu_options webgpu;
    mia_device_options options = {0};
    mia__cli_choose_device(o->model.device, &options, &webgpu);
    mia_status status = mia_device_open(&options, &device, &error);
    if (status == MIA_OK) status = mia_tape_load(device, file, NULL, &tape, &error);
    int code = status == MIA_OK ? draw(o, tape) : mia__cli_fail("graph", "%s", error.message);
    mia_tape_close(tape);
    (void)mia_device_close(device, NULL);
    mia_weights_close(file);
    return code;
}

int mia__cli_graph(int argc, char **argv) {
    graph_options o = {.model = {.unloaded = true}, .format = "mermaid", .rows = 1};
    int code = parse_options(&o, argc, argv);
    if (code < 0) code = mia__cli_check_device("graph", o.model.device);
    if (code >= 0) return code;
    if (strcmp(o.format, "mermaid") != 0 && strcmp(o.format, "dot") != 0 && strcmp(o.format, "svg") != 0 &&
        strcmp(o.format, "json") != 0)
        return mia__cli_misuse("graph", "there is no format \"%s\"; there are mermaid, dot, svg and json",
                               o.format);
    mia__cli_model model = {.device = NULL};
    code = mia__cli_open_weights("graph", o.path, &model);
    if (code >= 0) return code;
    if (mia_weights_find(model.weights, "mia.tape.version", NULL)) return draw_tape(&o, model.weights);
    int64_t trained = mia__cli_trained_context(model.weights);
    if (o.model.context == 0) o.model.context = trained > 0 && trained < 256 ? trained : 256;
    return draw_model(&o, &model);
}
