/* `mia layout`: evaluates one operation of the layout algebra, or checks a table of them. The work is done by
 * mia_layout_evaluate; here are the command line and the table's rows. */
#include "commands.h"
#include "common.h"

#include <mia/layout.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FAILURES_SHOWN 20
#define LISTING_BYTES  98304 /* the longest result: 4096 offsets of a swizzled layout, up to 19 digits each */

/* Takes the text up to the next tab off the line. */
static const char *next_field(char **line) {
    char *field = *line, *tab = strchr(field, '\t');
    *line = tab == NULL ? field + strlen(field) : tab + 1;
    if (tab != NULL) *tab = '\0';
    return field;
}

/* Does the row hold? Says on stdout why not, if `show`. */
static bool check_row(char *line, long number, bool show) {
    char got[MIA_LAYOUT_MAX_TEXT];
    mia_error error = {0};
    const char *operation = next_field(&line), *a = next_field(&line), *b = next_field(&line);
    const char *expected = next_field(&line);
    mia_status status = mia_layout_evaluate(operation, a, b, got, sizeof got, &error);
    if (status == MIA_OK && strcmp(got, expected) == 0) return true;
    if (show) {
        printf("line %ld: %s %s%s%s: expected %s, got %s\n", number, operation, a, b[0] == '\0' ? "" : " ", b,
               expected, status == MIA_OK ? got : error.message);
    }
    return false;
}

/* Counts the rows and those that hold; the exit code of what cannot be read. */
static int check_rows(FILE *file, const char *path, long *rows, long *hold) {
    char line[2 * MIA_LAYOUT_MAX_TEXT];
    for (long number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        size_t length = strcspn(line, "\r\n");
        if (line[length] == '\0' && !feof(file)) {
            return mia__cli_fail("layout", "%s: line %ld is longer than %zu bytes, or holds a zero byte",
                                 path, number, sizeof line - 2);
        }
        line[length] = '\0';
        if (line[0] == '#' || line[0] == '\0') continue;
        bool show = *rows - *hold < FAILURES_SHOWN;
        ++*rows;
        if (check_row(line, number, show)) ++*hold;
    }
    return ferror(file) ? mia__cli_fail("layout", "%s: reading failed", path) : MIA__CLI_OK;
}

static int check_table(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return mia__cli_fail("layout", "%s: %s", path, strerror(errno));
    long rows = 0, hold = 0;
    int code = check_rows(file, path, &rows, &hold);
    fclose(file);
    if (code != MIA__CLI_OK) return code;
    if (rows == 0) return mia__cli_fail("layout", "%s holds no rows", path);
    printf("%ld of %ld rows hold\n", hold, rows);
    code = mia__cli_finish_output("layout");
    return hold == rows ? code : MIA__CLI_FAILED;
}

static int evaluate(const char *operation, const char *a, const char *b) {
    char text[LISTING_BYTES];
    mia_error error = {0};
    mia_status status = mia_layout_evaluate(operation, a, b, text, sizeof text, &error);
    if (status == MIA_ERROR_NOT_FOUND) return mia__cli_misuse("layout", "%s", error.message);
    if (status != MIA_OK) return mia__cli_fail("layout", "%s", error.message);
    puts(text);
    return mia__cli_finish_output("layout");
}

#define NOTES_BYTES 8192

/* name, first operand, second operand, sentence */
#define ROW(name, first, second, sentence) {#name, first, second, sentence},
static const char *const operations[][4] = {MIA_LAYOUT_OPERATIONS(ROW)};
#undef ROW
enum { OPERATION_COUNT = sizeof operations / sizeof operations[0] };

/* Says which operand is missing, unless there is no such operation. */
static int refuse_no_operand(const char *operation) {
    for (size_t i = 0; i < OPERATION_COUNT; i++)
        if (strcmp(operations[i][0], operation) == 0)
            return mia__cli_misuse("layout", "%s: lacks its operand, %s", operation, operations[i][1]);
    return evaluate(operation, "", NULL);
}

static void write_notes(char notes[NOTES_BYTES]) {
    int used =
        snprintf(notes, NOTES_BYTES, "%s",
                 "A TILER is a layout; <tiler,tiler,...>, one for each mode, where _ leaves a mode alone;\n"
                 "or a shape, (3,8), which is <3:1,8:1>. The shell wants quotes around operands.\n"
                 "\n"
                 "operations:\n");
    for (size_t i = 0; i < OPERATION_COUNT && used < NOTES_BYTES; i++) {
        const char *const *row = operations[i];
        used += snprintf(notes + used, (size_t)(NOTES_BYTES - used), "  %-15s %-9s %-10s %s\n", row[0],
                         row[1], row[2], row[3]);
    }
}

int mia__cli_layout(int argc, char **argv) {
    const char *operation = NULL, *a = NULL, *b = NULL, *table = NULL;
    char notes[NOTES_BYTES];
    write_notes(notes);
    const mia__cli_argument arguments[] = {
        {"OPERATION", false, &operation, "one of those below"},
        {"A", false, &a, "a layout, such as (4,(2,3)):(1,(4,8)); a shape alone is its compact layout"},
        {"B", false, &b, "the second operand, for the operations that have one"},
    };
    const mia__cli_option options[] = {
        {.name = "--check",
         .kind = MIA__CLI_STRING,
         .target = &table,
         .value = "FILE.tsv",
         .help = "evaluate each row of a table (operation, A, B and the result, separated by tabs; lines "
                 "that begin with # are skipped), print how many hold and the first 20 that do not"},
    };
    const mia__cli_command command = {
        .name = "layout",
        .summary = "Evaluates an operation of CuTe's layout algebra, in its notation.",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes = notes,
    };
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    if (table != NULL) {
        if (operation != NULL) return mia__cli_misuse("layout", "--check takes no operation");
        return check_table(table);
    }
    if (operation == NULL) return mia__cli_misuse("layout", "an operation, or --check, is missing");
    return a == NULL ? refuse_no_operand(operation) : evaluate(operation, a, b);
}
