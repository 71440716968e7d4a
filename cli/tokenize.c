/* `mia tokenize` and `mia detokenize`: text on standard input to token ids on standard output, and back. All
 * of standard input is read first: the ids of a text depend on what comes later in it. */
#include "commands.h"
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct input {
    char *bytes; /* [room] */
    size_t length, room;
} input;

static void release_input(input *in) {
    mia_release(NULL, in->bytes, in->room);
}

static int read_input(const char *command, input *in) {
    *in = (input){NULL, 0, 0};
    for (;;) {
        if (in->length == in->room) {
            size_t room = in->room == 0 ? 1 << 16 : in->room * 2;
            char *bytes = mia_reallocate_array(NULL, in->bytes, in->room, room, 1);
            if (bytes == NULL)
                return mia__cli_fail(command, "standard input: no memory after %zu bytes", in->length);
            in->bytes = bytes;
            in->room = room;
        }
        errno = 0;
        size_t got = fread(in->bytes + in->length, 1, in->room - in->length, stdin);
        in->length += got;
        if (got == 0) break;
    }
    if (!ferror(stdin)) return MIA__CLI_OK;
    return mia__cli_fail(command, "standard input: %s", errno != 0 ? strerror(errno) : "reading failed");
}

/* NULL when it failed, which it has then said. */
static mia_tokenizer *open_tokenizer(const char *command, const char *path) {
    mia_error error = {0};
    mia_weights *weights = NULL;
    mia_tokenizer *tokenizer = NULL;
    mia_status status = mia_weights_open_file(path, NULL, &weights, &error);
    if (status == MIA_OK) status = mia_tokenizer_open(weights, NULL, &tokenizer, &error);
    mia_weights_close(weights);
    if (status != MIA_OK) (void)mia__cli_fail(command, "%s", error.message);
    return tokenizer;
}

/* --- tokenize --------------------------------------------------------------------------------- */

static int print_ids(const char *command, const mia_tokenizer *tokenizer, const input *text, unsigned flags) {
    mia_error error = {0};
    int32_t *ids = NULL;
    size_t count = 0;
    if (mia_tokenizer_encode(tokenizer, text->bytes, text->length, flags, &ids, &count, &error) != MIA_OK)
        return mia__cli_fail(command, "%s", error.message);
    for (size_t i = 0; i < count; i++) printf(i == 0 ? "%d" : ",%d", (int)ids[i]);
    printf("\n");
    mia_tokenizer_release(tokenizer, ids, count);
    return mia__cli_finish_output(command);
}

int mia__cli_tokenize(int argc, char **argv) {
    const char *model = NULL;
    bool bare = false;
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", true, &model, "the model, or a file with its vocabulary alone"}};
    const mia__cli_option options[] = {{.name = "--no-bos",
                                        .kind = MIA__CLI_FLAG,
                                        .target = &bare,
                                        .help = "no BOS in front and no EOS at the end"}};
    const mia__cli_command command = {.name = "tokenize",
                                      .summary =
                                          "Prints the token ids of standard input, separated by commas.",
                                      .arguments = arguments,
                                      .argument_count = 1,
                                      .options = options,
                                      .option_count = 1};
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    mia_tokenizer *tokenizer = open_tokenizer(command.name, model);
    if (tokenizer == NULL) return MIA__CLI_FAILED;
    input text;
    code = read_input(command.name, &text);
    unsigned flags = bare ? 0 : MIA_TOKENIZE_BOS | MIA_TOKENIZE_EOS;
    if (code == MIA__CLI_OK) code = print_ids(command.name, tokenizer, &text, flags);
    release_input(&text);
    mia_tokenizer_close(tokenizer);
    return code;
}

/* --- detokenize ------------------------------------------------------------------------------- */

static bool is_separator(char c) {
    return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The id written in [text, text + length): digits that give no more than INT32_MAX. */
static bool parse_id(const char *text, size_t length, int32_t *id) {
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (text[i] - '0');
        if (value > INT32_MAX) return false;
    }
    *id = (int32_t)value;
    return length > 0;
}

static int print_text(const char *command, mia_detokenizer *detokenizer, const input *ids) {
    mia_error error = {0};
    mia_text text;
    size_t at = 0;
    for (;;) {
        while (at < ids->length && is_separator(ids->bytes[at])) at++;
        if (at == ids->length) break;
        size_t end = at;
        while (end < ids->length && !is_separator(ids->bytes[end])) end++;
        int32_t id;
        if (!parse_id(ids->bytes + at, end - at, &id))
            return mia__cli_fail(command, "standard input: \"%.*s\" is not a token id",
                                 (int)(end - at < 40 ? end - at : 40), ids->bytes + at);
        if (mia_detokenizer_push(detokenizer, id, &text, &error) != MIA_OK)
            return mia__cli_fail(command, "standard input: %s", error.message);
        fwrite(text.bytes, 1, text.length, stdout);
        at = end;
    }
    text = mia_detokenizer_finish(detokenizer);
    fwrite(text.bytes, 1, text.length, stdout);
    return mia__cli_finish_output(command);
}

int mia__cli_detokenize(int argc, char **argv) {
    const char *model = NULL;
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", true, &model, "the model, or a file with its vocabulary alone"}};
    const mia__cli_command command = {
        .name = "detokenize",
        .summary = "Prints the text of the token ids on standard input, separated by commas or blanks.",
        .arguments = arguments,
        .argument_count = 1};
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    mia_tokenizer *tokenizer = open_tokenizer(command.name, model);
    if (tokenizer == NULL) return MIA__CLI_FAILED;
    input ids;
    code = read_input(command.name, &ids);
    mia_detokenizer *detokenizer = NULL;
    mia_error error = {0};
    if (code == MIA__CLI_OK && mia_detokenizer_open(tokenizer, 0, &detokenizer, &error) != MIA_OK)
        code = mia__cli_fail(command.name, "%s", error.message);
    if (code == MIA__CLI_OK) code = print_text(command.name, detokenizer, &ids);
    mia_detokenizer_close(detokenizer);
    release_input(&ids);
    mia_tokenizer_close(tokenizer);
    return code;
}
