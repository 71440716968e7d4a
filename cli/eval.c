/* `mia eval`: perplexity of a text, counted as llama-perplexity does, and logits for other programs.
 *
 * The text is tokenised once, BOS in front, and cut into windows of N tokens; what is left over is not used.
 * In each window the first token gives way to BOS (if the model takes one), and the tokens from N/2 + 1 on
 * are scored, so that each has at least half a window before it:
 *
 *      BOS  t1  t2 ... t(N/2)  t(N/2+1) ... t(N-1)
 *      |-- read, not scored --||------ scored -----|   N - 1 - N/2 tokens a window
 *
 * perplexity = exp(mean of -log p); the +/- is its standard error, taken through the exponential. */
#include "commands.h"
#include "common.h"
#include "figures.h"
#include "input.h"
#include "open.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WINDOW 512
#define CHUNK          256 /* tokens whose logits are held at once */

typedef struct eval_options {
    mia__cli_model_options model;
    const char *path, *file, *logits, *tokens;
} eval_options;

static int parse_options(eval_options *o, int argc, char **argv) {
    const mia__cli_argument arguments[] = {
        {"MODEL.gguf", true, &o->path, "the model"},
        {"FILE", false, &o->file, "the text; - is standard input"},
    };
    const mia__cli_option options[] = {
        {"--ctx", MIA__CLI_INTEGER, &o->model.context, "N",
         "tokens of a window (default: 512, or the model's fewer)", 1, 1 << 24},
        {"--logits", MIA__CLI_STRING, &o->logits, "OUT.f32",
         "write the first window's logits: raw float32 [tokens, vocab]", 0, 0},
        {"--tokens", MIA__CLI_STRING, &o->tokens, "1,2,3", "token ids in place of FILE, used as they are", 0,
         0},
        MIA__CLI_THREADS_OPTION(&o->model),
        MIA__CLI_DEVICE_OPTION(&o->model),
        MIA__CLI_MEMORY_OPTION(&o->model),
    };
    const mia__cli_command command = {
        .name = "eval",
        .summary = "Prints the perplexity of a text, counted as llama-perplexity does.",
        .arguments = arguments,
        .argument_count = sizeof arguments / sizeof arguments[0],
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .notes =
            "The text is tokenised once, with BOS, and cut into windows of N tokens, each window's first "
            "token\n"
            "replaced by BOS; the second half of each window is scored. A text shorter than a window has no\n"
            "perplexity, but --logits takes it. The logits lie token after token, in the machine's byte "
            "order.\n",
    };
    int code = mia__cli_parse(&command, argc, argv);
    if (code >= 0) return code;
    if (o->file == NULL && o->tokens == NULL) return mia__cli_misuse("eval", "FILE or --tokens is missing");
    if (o->file != NULL && o->tokens != NULL)
        return mia__cli_misuse("eval", "FILE and --tokens exclude each other");
    return mia__cli_check_device("eval", o->model.device);
}

/* --- tokens ----------------------------------------------------------------------------------- */

typedef struct token_list {
    int32_t *ids; /* from malloc */
    size_t count;
} token_list;

/* "1,2,3" as ids, before any model is there to know the vocabulary. Returns -1, or the exit code. */
static int parse_tokens(const char *text, token_list *out) {
    size_t capacity = 1;
    for (const char *c = text; *c != '\0'; c++) capacity += *c == ',';
    out->ids = malloc(capacity * sizeof *out->ids);
    if (out->ids == NULL) return mia__cli_fail("eval", "no memory for %zu tokens", capacity);
    for (const char *c = text; out->count < capacity; out->count++) {
        size_t length = strcspn(c, ",");
        if (!mia__cli_parse_id(c, length, &out->ids[out->count]))
            return mia__cli_misuse("eval", "--tokens: \"%.40s\" is not a list of token ids such as 1,2,3",
                                   text);
        c += length + 1; /* past the comma; past the end after the last id only */
    }
    return -1;
}

/* Encodes the text into a list of our own. */
static int encode_text(const mia_tokenizer *tokenizer, const mia__cli_input *text, token_list *out) {
    mia_error error = {0};
    int32_t *ids = NULL;
    size_t count = 0;
    if (mia_tokenizer_encode(tokenizer, text->bytes, text->length, MIA_TOKENIZE_BOS, &ids, &count, &error) !=
        MIA_OK)
        return mia__cli_fail("eval", "%s", error.message);
    out->ids = malloc((count + 1) * sizeof *out->ids);
    if (out->ids != NULL && count > 0) memcpy(out->ids, ids, count * sizeof *ids);
    out->count = count;
    mia_tokenizer_release(tokenizer, ids, count);
    return out->ids != NULL ? -1 : mia__cli_fail("eval", "no memory for %zu tokens", count);
}

/* --- windows ---------------------------------------------------------------------------------- */

typedef struct evaluation {
    mia_lm_state *state;
    size_t vocabulary, window;
    int32_t bos;       /* put in front of each window; -1: none */
    float *logits;     /* [vocabulary, CHUNK] */
    FILE *logits_file; /* of the first window; else NULL */
    const char *logits_path;
    const char *name;           /* of the text, for messages */
    bool empty;                 /* it has no bytes */
    double sum, sum_of_squares; /* of -log p */
    uint64_t scored;
} evaluation;

/* log of the sum of exp(logits), in double, with the largest taken out. */
static double log_sum_exp(const float *logits, size_t count) {
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (logits[i] > largest) largest = logits[i];
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += exp((double)logits[i] - (double)largest);
    return (double)largest + log(sum);
}

static void score(evaluation *e, const float *logits, int32_t next) {
    double surprise = log_sum_exp(logits, e->vocabulary) - (double)logits[next];
    e->sum += surprise;
    e->sum_of_squares += surprise * surprise;
    e->scored++;
}

static int write_logits(evaluation *e, size_t tokens) {
    if (e->logits_file == NULL ||
        fwrite(e->logits, e->vocabulary * sizeof(float), tokens, e->logits_file) == tokens)
        return -1;
    return mia__cli_fail("eval", "%s: %s", e->logits_path, strerror(errno));
}

/* Reads one window (or a text shorter than one) and, from `first` on, scores each token's successor. */
static int evaluate_window(evaluation *e, const int32_t *ids, size_t count, size_t first) {
    mia_lm_state_reset(e->state);
    for (size_t begin = 0; begin < count;) {
        int32_t chunk[CHUNK];
        size_t end =
            begin < first && first < begin + CHUNK ? first : begin + CHUNK; /* no chunk is scored in part */
        if (end > count) end = count;
        memcpy(chunk, ids + begin, (end - begin) * sizeof *chunk);
        if (begin == 0 && e->bos >= 0) chunk[0] = e->bos;
        bool wanted = begin >= first || e->logits_file != NULL;
        mia_error error = {0};
        if (mia_lm_step(e->state, chunk, end - begin, wanted ? MIA_LM_ALL_LOGITS : 0,
                        wanted ? e->logits : NULL, &error) != MIA_OK)
            return mia__cli_fail("eval", "%s", error.message);
        for (size_t i = begin; i < end && begin >= first && i + 1 < count; i++)
            score(e, e->logits + (i - begin) * e->vocabulary, ids[i + 1]);
        int code = write_logits(e, end - begin);
        if (code >= 0) return code;
        begin = end;
    }
    return -1;
}

static double perplexity(const evaluation *e) {
    return exp(e->sum / (double)e->scored);
}

static int evaluate_windows(evaluation *e, const token_list *tokens) {
    size_t windows = tokens->count / e->window;
    mia__cli_progress progress = mia__cli_progress_begin("evaluating");
    for (size_t i = 0; i < windows; i++) {
        int code = evaluate_window(e, tokens->ids + i * e->window, e->window, e->window / 2);
        e->logits_file = NULL; /* closed by whoever opened it */
        if (code >= 0) {
            mia__cli_progress_end(&progress);
            return code;
        }
        char note[80];
        (void)snprintf(note, sizeof note, "window %zu of %zu, perplexity %.4f", i + 1, windows,
                       perplexity(e));
        mia__cli_progress_show(&progress, (double)(i + 1) / (double)windows, note);
    }
    mia__cli_progress_end(&progress);
    return -1;
}

static void print_perplexity(const evaluation *e, size_t windows) {
    double count = (double)e->scored, mean = e->sum / count;
    double variance = e->sum_of_squares / count - mean * mean;
    double deviation = count > 1 && variance > 0 ? sqrt(variance / (count - 1)) : 0;
    printf("perplexity: %.4f\n", perplexity(e));
    printf("standard error: %.4f\n", deviation * perplexity(e));
    printf("tokens: %" PRIu64 "\n", e->scored);
    printf("windows: %zu of %zu tokens\n", windows, e->window);
}

static int refuse_text(const evaluation *e, size_t tokens) {
    if (e->window < 3)
        return mia__cli_fail("eval", "a window of %zu scores nothing; --ctx 3 is the least", e->window);
    if (e->empty) return mia__cli_fail("eval", "%s is empty", e->name);
    return mia__cli_fail("eval", "%s has %zu token%s; a window of %zu needs %zu (see --ctx)", e->name, tokens,
                         tokens == 1 ? "" : "s", e->window, e->window);
}

/* A text shorter than a window gives its logits; a longer one its perplexity, and the logits on the way. */
static int evaluate(evaluation *e, const token_list *tokens) {
    size_t windows = tokens->count / e->window;
    bool scorable = windows > 0 && e->window >= 3;
    if (!scorable && e->logits_file == NULL) return refuse_text(e, tokens->count);
    size_t length = tokens->count < e->window ? tokens->count : e->window;
    int code = scorable ? evaluate_windows(e, tokens) : evaluate_window(e, tokens->ids, length, length);
    if (code >= 0) return code;
    if (scorable) print_perplexity(e, windows);
    printf("text tokens: %zu\n", tokens->count);
    if (e->logits_path != NULL)
        printf("logits: %zu tokens of %zu in %s\n", length, e->vocabulary, e->logits_path);
    return MIA__CLI_OK;
}

/* --- the command ------------------------------------------------------------------------------ */

static int check_ids(const char *name, const token_list *tokens, size_t vocabulary) {
    for (size_t i = 0; i < tokens->count; i++)
        if ((size_t)tokens->ids[i] >= vocabulary)
            return mia__cli_fail("eval", "--tokens: %d is not in the vocabulary of %zu", (int)tokens->ids[i],
                                 vocabulary);
    return tokens->count > 0 ? -1 : mia__cli_fail("eval", "%s has no tokens", name);
}

/* Opens what the evaluation needs beyond the model, evaluates, and closes it. */
static int evaluate_on(const eval_options *o, const mia__cli_model *model, const token_list *tokens,
                       bool empty) {
    mia_error error = {0};
    const mia_tokenizer *tokenizer = mia_lm_tokenizer(model->lm);
    bool text = o->tokens == NULL;
    evaluation e = {
        .vocabulary = (size_t)mia_lm_describe(model->lm).vocabulary,
        .window = (size_t)o->model.context,
        .bos = text && mia_tokenizer_adds_bos(tokenizer) ? mia_tokenizer_bos(tokenizer) : -1,
        .logits_path = o->logits,
        .name = text ? mia__cli_input_name(o->file) : "--tokens",
        .empty = empty,
    };
    int code = check_ids(e.name, tokens, e.vocabulary);
    if (code >= 0) return code;
    if (mia_lm_state_open(model->lm, &e.state, &error) != MIA_OK)
        return mia__cli_fail("eval", "%s", error.message);
    FILE *file = NULL;
    e.logits = calloc(e.vocabulary, CHUNK * sizeof(float));
    if (e.logits == NULL) code = mia__cli_fail("eval", "no memory for logits of %zu tokens", (size_t)CHUNK);
    if (code < 0 && o->logits != NULL) {
        e.logits_file = file = fopen(o->logits, "wb");
        if (file == NULL) code = mia__cli_fail("eval", "%s: %s", o->logits, strerror(errno));
    }
    if (code < 0) code = evaluate(&e, tokens);
    if (file != NULL && fclose(file) != 0 && code == MIA__CLI_OK)
        code = mia__cli_fail("eval", "%s: %s", o->logits, strerror(errno));
    free(e.logits);
    mia_lm_state_close(e.state);
    return code;
}

int mia__cli_eval(int argc, char **argv) {
    eval_options o = {0};
    token_list tokens = {0};
    mia__cli_input text = {0};
    mia__cli_model model;
    int code = parse_options(&o, argc, argv);
    if (code < 0)
        code =
            o.tokens != NULL ? parse_tokens(o.tokens, &tokens) : mia__cli_read_input("eval", o.file, &text);
    if (code < 0) code = mia__cli_open_weights("eval", o.path, &model);
    if (code < 0) {
        int64_t trained = mia__cli_trained_context(model.weights);
        if (o.model.context == 0)
            o.model.context = trained > 0 && trained < DEFAULT_WINDOW ? trained : DEFAULT_WINDOW;
        code = mia__cli_open_model("eval", &o.model, &model);
    }
    if (code < 0) {
        if (o.tokens == NULL) code = encode_text(mia_lm_tokenizer(model.lm), &text, &tokens);
        if (code < 0) code = evaluate_on(&o, &model, &tokens, o.tokens == NULL && text.length == 0);
        mia__cli_close_model("eval", &model);
    }
    mia__cli_release_input(&text);
    free(tokens.ids);
    return code;
}
