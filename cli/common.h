/* What the sub-commands share: exit codes, one-line errors, option tables that are parsed and printed as
 * help, and the signals that end a run early. A sub-command declares its options once; the help cannot forget
 * one. */
#ifndef MIA_CLI_COMMON_H
#define MIA_CLI_COMMON_H

#include <mia/mia.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MIA__CLI_OK = 0,
    MIA__CLI_FAILED = 1, /* bad input, no memory, a full disk */
    MIA__CLI_USAGE = 2,
    MIA__CLI_INTERRUPTED = 130
};

/* --- errors: one line on stderr, "mia run: MESSAGE" ------------------------------------------- */

/* Control characters of the message become '?', so that it stays one line. Both return the exit code. */
int mia__cli_fail(const char *command, const char *format, ...) MIA_PRINTF(2, 3);
int mia__cli_misuse(const char *command, const char *format, ...)
    MIA_PRINTF(2, 3); /* adds "(try mia run --help)" */

/* Flushes standard output; MIA__CLI_FAILED, with a line, when what was written to it did not arrive. */
int mia__cli_finish_output(const char *command);

/* --- options ---------------------------------------------------------------------------------- */

#define MIA__CLI_LIST_CAPACITY 32

typedef struct mia__cli_list {
    size_t count;
    const char *items[MIA__CLI_LIST_CAPACITY];
} mia__cli_list;

typedef struct mia__cli_seed {
    bool given;
    uint64_t value;
} mia__cli_seed;

typedef enum mia__cli_kind {
    MIA__CLI_FLAG,    /* bool *: set to true, takes no value */
    MIA__CLI_INTEGER, /* int64_t *: between least and most */
    MIA__CLI_SEED,    /* mia__cli_seed * */
    MIA__CLI_FLOAT,   /* double *: finite, between least and most */
    MIA__CLI_BYTES,   /* uint64_t *: a count with an optional K, M or G (1024s) */
    MIA__CLI_STRING,  /* const char ** */
    MIA__CLI_LIST     /* mia__cli_list *: a string each time it is given */
} mia__cli_kind;

typedef struct mia__cli_option {
    const char *name; /* "--temp", "-n" */
    mia__cli_kind kind;
    void *target;      /* keeps its value when the option is not given; given twice, the last counts */
    const char *value; /* the value's name in the help: "N" */
    const char *help;
    double least, most; /* of INTEGER and FLOAT */
} mia__cli_option;

typedef struct mia__cli_argument {
    const char *name; /* "MODEL.gguf" */
    bool required;
    const char **target;
    const char *help;
} mia__cli_argument;

typedef struct mia__cli_command {
    const char *name;
    const char *summary; /* one sentence */
    const mia__cli_argument *arguments;
    size_t argument_count;
    const mia__cli_option *options;
    size_t option_count;
    const char *notes; /* further text of the help, whole lines; may be NULL */
} mia__cli_command;

/* Parses argv[1] onwards. Returns -1 to go on, else the exit code: --help was printed, or the usage is
 * wrong. */
int mia__cli_parse(const mia__cli_command *command, int argc, char **argv);

/* --- signals ---------------------------------------------------------------------------------- */

/* From now on the first SIGINT or SIGTERM is only noted; a second one ends the program as usual. */
void mia__cli_catch_interrupts(void);
bool mia__cli_interrupted(void);
/* The work of this device is cancelled by that signal; NULL, before it is closed: of none. */
void mia__cli_interrupt_cancels(mia_device *device);

#endif
