/* Errors, option parsing and help for all sub-commands (common.h). Nothing here knows a particular
 * sub-command. */
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- errors ----------------------------------------------------------------------------------- */

#define MESSAGE_BYTES 1024

static void print_line(const char *command, char *message, const char *ending) {
    for (char *c = message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    fprintf(stderr, "mia%s%s: %s%s\n", command[0] != '\0' ? " " : "", command, message, ending);
}

int mia__cli_fail(const char *command, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    print_line(command, message, "");
    return MIA__CLI_FAILED;
}

int mia__cli_misuse(const char *command, const char *format, ...) {
    char message[MESSAGE_BYTES], ending[64];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    (void)snprintf(ending, sizeof ending, " (try mia %s%s--help)", command, command[0] != '\0' ? " " : "");
    print_line(command, message, ending);
    return MIA__CLI_USAGE;
}

int mia__cli_finish_output(const char *command) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return MIA__CLI_OK;
    return mia__cli_fail(command, "standard output: %s", errno != 0 ? strerror(errno) : "writing failed");
}

/* --- values ----------------------------------------------------------------------------------- */

static int out_of_range(const char *command, const mia__cli_option *option, const char *text) {
    if (option->most >= 1e15)
        return mia__cli_misuse(command, "%s: \"%s\" is less than %g", option->name, text, option->least);
    return mia__cli_misuse(command, "%s: \"%s\" is not between %.10g and %.10g", option->name, text,
                           option->least, option->most);
}

static int not_a_number(const char *command, const mia__cli_option *option, const char *text,
                        const char *kind) {
    return mia__cli_misuse(command, "%s: \"%s\" is not a %s", option->name, text, kind);
}

static int parse_integer(const char *command, const mia__cli_option *option, const char *text) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (isspace((unsigned char)text[0]) || end == text || *end != '\0')
        return not_a_number(command, option, text, "whole number");
    if (errno == ERANGE || (double)value < option->least || (double)value > option->most)
        return out_of_range(command, option, text);
    *(int64_t *)option->target = value;
    return -1;
}

static int parse_seed(const char *command, const mia__cli_option *option, const char *text) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno == ERANGE)
        return not_a_number(command, option, text, "whole number from 0 to 18446744073709551615");
    *(mia__cli_seed *)option->target = (mia__cli_seed){.given = true, .value = value};
    return -1;
}

static int parse_float(const char *command, const mia__cli_option *option, const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (isspace((unsigned char)text[0]) || end == text || *end != '\0' || !isfinite(value))
        return not_a_number(command, option, text, "number");
    if (value < option->least || value > option->most) return out_of_range(command, option, text);
    *(double *)option->target = value;
    return -1;
}

static int parse_bytes(const char *command, const mia__cli_option *option, const char *text) {
    static const char kind[] = "number of bytes such as 500000000, 500M or 2G";
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno == ERANGE) return not_a_number(command, option, text, kind);
    unsigned shift = 0;
    switch (*end) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    default: break;
    }
    if (end[shift != 0 ? 1 : 0] != '\0' || value > UINT64_MAX >> shift || value == 0)
        return not_a_number(command, option, text, kind);
    *(uint64_t *)option->target = (uint64_t)value << shift;
    return -1;
}

static int parse_value(const char *command, const mia__cli_option *option, const char *text) {
    switch (option->kind) {
    case MIA__CLI_FLAG: *(bool *)option->target = true; return -1;
    case MIA__CLI_INTEGER: return parse_integer(command, option, text);
    case MIA__CLI_SEED: return parse_seed(command, option, text);
    case MIA__CLI_FLOAT: return parse_float(command, option, text);
    case MIA__CLI_BYTES: return parse_bytes(command, option, text);
    case MIA__CLI_STRING: *(const char **)option->target = text; return -1;
    case MIA__CLI_LIST: break;
    }
    mia__cli_list *list = option->target;
    if (list->count == MIA__CLI_LIST_CAPACITY)
        return mia__cli_misuse(command, "%s: given more than %d times", option->name, MIA__CLI_LIST_CAPACITY);
    list->items[list->count++] = text;
    return -1;
}

/* --- help ------------------------------------------------------------------------------------- */

#define HELP_COLUMN 26
#define HELP_WIDTH  100

/* `left`, then the help in a column of its own, broken between words. */
static void print_entry(const char *left, const char *help) {
    int column = printf("  %s", left);
    if (column >= HELP_COLUMN) {
        printf("\n");
        column = 0;
    }
    printf("%*s", HELP_COLUMN - column, "");
    column = HELP_COLUMN;
    while (*help != '\0') {
        int word = (int)strcspn(help, " ");
        if (column > HELP_COLUMN && column + word >= HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += printf(column > HELP_COLUMN ? " %.*s" : "%.*s", word, help);
        help += word;
        while (*help == ' ') help++;
    }
    printf("\n");
}

static void print_help(const mia__cli_command *command) {
    printf("usage: mia %s", command->name);
    for (size_t i = 0; i < command->argument_count; i++) {
        const mia__cli_argument *argument = &command->arguments[i];
        printf(argument->required ? " %s" : " [%s]", argument->name);
    }
    printf("%s\n\n%s\n", command->option_count > 0 ? " [options]" : "", command->summary);
    if (command->argument_count > 0) printf("\n");
    for (size_t i = 0; i < command->argument_count; i++)
        print_entry(command->arguments[i].name, command->arguments[i].help);
    printf("\noptions:\n");
    for (size_t i = 0; i < command->option_count; i++) {
        const mia__cli_option *option = &command->options[i];
        char left[64];
        (void)snprintf(left, sizeof left, "%s%s%s", option->name, option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
        print_entry(left, option->help);
    }
    print_entry("--help", "print this and exit");
    if (command->notes != NULL) printf("\n%s", command->notes);
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* The option that `word` names: "--temp" or "--temp=0.5", when *value gets what follows the sign. */
static const mia__cli_option *find_option(const mia__cli_command *command, const char *word,
                                          const char **value) {
    const char *sign = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t length = sign != NULL ? (size_t)(sign - word) : strlen(word);
    *value = sign != NULL ? sign + 1 : NULL;
    for (size_t i = 0; i < command->option_count; i++) {
        const char *name = command->options[i].name;
        if (strlen(name) == length && memcmp(name, word, length) == 0) return &command->options[i];
    }
    return NULL;
}

/* Parses the option at argv[*index] and its value, if it takes one, which moves *index on. */
static int parse_option(const mia__cli_command *command, int argc, char **argv, int *index) {
    const char *word = argv[*index];
    const char *value = NULL;
    const mia__cli_option *option = find_option(command, word, &value);
    if (option == NULL) return mia__cli_misuse(command->name, "unknown option \"%s\"", word);
    if (option->kind == MIA__CLI_FLAG) {
        if (value != NULL) return mia__cli_misuse(command->name, "%s takes no value", option->name);
    } else if (value == NULL) {
        if (*index + 1 >= argc)
            return mia__cli_misuse(command->name, "%s needs a value (%s)", option->name, option->value);
        value = argv[++*index];
    }
    return parse_value(command->name, option, value);
}

static int take_argument(const mia__cli_command *command, size_t *taken, const char *word) {
    if (*taken == command->argument_count)
        return mia__cli_misuse(command->name, "unexpected argument \"%s\"", word);
    *command->arguments[(*taken)++].target = word;
    return -1;
}

int mia__cli_parse(const mia__cli_command *command, int argc, char **argv) {
    size_t taken = 0;
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        int code = -1;
        if (options_over || word[0] != '-' || word[1] == '\0') {
            code = take_argument(command, &taken, word);
        } else if (strcmp(word, "--") == 0) {
            options_over = true;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command);
            return mia__cli_finish_output(command->name);
        } else {
            code = parse_option(command, argc, argv, &i);
        }
        if (code >= 0) return code;
    }
    if (taken < command->argument_count && command->arguments[taken].required)
        return mia__cli_misuse(command->name, "%s is missing", command->arguments[taken].name);
    return -1;
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;
static _Atomic(mia_device *) interruptible;
static atomic_uint handlers; /* at work: a signal may come to any thread */

static void note_interrupt(int number) {
    (void)number;
    interrupted = 1;
    atomic_fetch_add(&handlers, 1);
    mia_device *device = atomic_load(&interruptible);
    if (device != NULL) mia_device_cancel(device);
    atomic_fetch_sub(&handlers, 1);
}

void mia__cli_interrupt_cancels(mia_device *device) {
    atomic_store(&interruptible, device);
    while (device == NULL && atomic_load(&handlers) > 0) {
    } /* which may hold the device that is to be closed */
}

void mia__cli_catch_interrupts(void) {
    struct sigaction action = {.sa_handler = note_interrupt};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool mia__cli_interrupted(void) {
    return interrupted != 0;
}
