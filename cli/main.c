/* The `mia` program: finds the sub-command and hands over to it. Each sub-command is a file of this folder
 * with a table of its options; common.h has what they share. The program uses the public headers of the
 * library alone. */
#include "commands.h"
#include "common.h"

#include <mia/version.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", mia__cli_run, "continue a prompt; without a model, tell a story"},
    {"tokenize", mia__cli_tokenize, "text of standard input to token ids"},
    {"detokenize", mia__cli_detokenize, "token ids of standard input to text"},
    {"eval", mia__cli_eval, "perplexity of a text; logits"},
    {"inspect", mia__cli_inspect, "metadata and tensors of a model file"},
    {"devices", mia__cli_devices, "what this machine can compute on"},
    {"bench", mia__cli_bench, "measure tokens a second"},
    {"trace", mia__cli_trace, "write when each step of a run was computed, for Perfetto"},
    {"plan", mia__cli_plan, "the memory that a model needs, without loading it"},
    {"export", mia__cli_export, "write a model's step as a tape"},
    {"exec", mia__cli_exec, "run a saved tape on NumPy files"},
    {"graph", mia__cli_graph, "draw a tape or a model's step"},
    {"layout", mia__cli_layout, "work out an expression of the layout algebra"},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int print_overview(void) {
    printf("mia %s: language models and typed, lazy tensors\n\nusage: mia COMMAND [...]\n\n", mia_version());
    for (size_t i = 0; i < COMMAND_COUNT; i++) printf("  %-12s%s\n", commands[i].name, commands[i].summary);
    printf("\n`mia COMMAND --help` tells more; `mia --version` prints the version.\n"
           "MIA_DEBUG=tape,plan,memory,time,check in the environment prints what the library does.\n");
    return mia__cli_finish_output("");
}

static int run_command(const char *name, int argc, char **argv) {
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        int code = commands[i].run(argc, argv);
        if (code != MIA__CLI_OK) return code;
        return mia__cli_finish_output(name);
    }
    return mia__cli_misuse("", "there is no command \"%s\"", name);
}

static int print_help_of(int argc, char **argv) {
    static char flag[] = "--help";
    if (argc == 0) return print_overview();
    if (argc > 1) return mia__cli_misuse("", "help takes one command");
    char *arguments[] = {argv[0], flag, NULL};
    return run_command(argv[0], 2, arguments);
}

int main(int argc, char **argv) {
    /* A reader that goes away is told about like a full disk: by a line and exit code 1. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) return mia__cli_misuse("", "a command is missing");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return print_overview();
    if (strcmp(name, "help") == 0) return print_help_of(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("mia %s\n", mia_version());
        return mia__cli_finish_output("");
    }
    return run_command(name, argc - 1, argv + 1);
}
