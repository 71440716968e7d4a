/* `mia tokenize` and `mia detokenize`: text on standard input to token ids on standard output, and back. All
 * of standard input is read first: the ids of a text depend on what comes later in it. */
#include "commands.h"
#include "common.h"
#include "input.h"

#include <stdio.h>

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

static int print_ids(const char *command, const mia_tokenizer *tokenizer, const mia__cli_input *text,
                     unsigned flags) {
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
    mia__cli_input text;
    code = mia__cli_read_input(command.name, "-", &text);
    unsigned flags = bare ? 0 : MIA_TOKENIZE_BOS | MIA_TOKENIZE_EOS;
    if (code < 0) code = print_ids(command.name, tokenizer, &text, flags);
    mia__cli_release_input(&text);
    mia_tokenizer_close(tokenizer);
    return code;
}

/* --- detokenize ------------------------------------------------------------------------------- */

static bool is_separator(char c) {
    return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int print_text(const char *command, mia_detokenizer *detokenizer, const mia__cli_input *ids) {
    mia_error error = {0};
    mia_text text;
    size_t at = 0;
    for (;;) {
        while (at < ids->length && is_separator(ids->bytes[at])) at++;
        if (at == ids->length) break;
        size_t end = at;
        while (end < ids->length && !is_separator(ids->bytes[end])) end++;
        int32_t id;
        if (!mia__cli_parse_id(ids->bytes + at, end - at, &id))
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
    mia__cli_input ids;
    code = mia__cli_read_input(command.name, "-", &ids);
    mia_detokenizer *detokenizer = NULL;
    mia_error error = {0};
    if (code < 0 && mia_detokenizer_open(tokenizer, 0, &detokenizer, &error) != MIA_OK)
        code = mia__cli_fail(command.name, "%s", error.message);
    if (code < 0) code = print_text(command.name, detokenizer, &ids);
    mia_detokenizer_close(detokenizer);
    mia__cli_release_input(&ids);
    mia_tokenizer_close(tokenizer);
    return code;
}
