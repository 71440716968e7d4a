/* The detokenizer: what was encoded comes back, in pieces that are whole characters, for random vocabularies
 * and texts; and each rule of its header by itself. */
#include "vocabulary.h"

/* --- round trips ------------------------------------------------------------------------------ */

static bool is_whole(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t bytes = character_at(text + at, length - at);
        if (bytes == 1 && (uint8_t)text[at] >= 0x80) return false;
        at += bytes;
    }
    return true;
}

/* Encodes, decodes, compares; `whole` asks that every piece on the way is whole characters. */
static void check_round_trip(const mia_tokenizer *tokenizer, const char *text, size_t length, bool special,
                             bool whole) {
    int32_t *ids;
    size_t count, got = 0;
    char *back = malloc(length + 64);
    assert_int_equal(
        mia_tokenizer_encode(tokenizer, text, length, special ? MIA_TOKENIZE_SPECIAL : 0, &ids, &count, NULL),
        MIA_OK);
    mia_detokenizer *detokenizer;
    unsigned flags = special ? MIA_DETOKENIZE_SPECIAL : 0;
    assert_int_equal(mia_detokenizer_open(tokenizer, flags, &detokenizer, NULL), MIA_OK);
    for (size_t i = 0; i <= count; i++) {
        mia_text piece;
        if (i == count)
            piece = mia_detokenizer_finish(detokenizer);
        else
            assert_int_equal(mia_detokenizer_push(detokenizer, ids[i], &piece, NULL), MIA_OK);
        if (whole) assert_true(is_whole(piece.bytes, piece.length));
        assert_true(got + piece.length <= length);
        memcpy(back + got, piece.bytes, piece.length);
        got += piece.length;
    }
    assert_int_equal(got, length);
    assert_memory_equal(back, text, length);
    mia_detokenizer_close(detokenizer);
    mia_tokenizer_release(tokenizer, ids, count);
    free(back);
}

static size_t random_utf8(char *out, size_t characters) {
    size_t length = 0;
    while (characters-- > 0) {
        static const uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
        uint32_t c = (uint32_t)random_below(limits[random_below(4)]);
        if (c == 0x2581 || (c >= 0xd800 && c < 0xe000)) c = ' '; /* U+2581 is a space to SentencePiece */
        if (c < 0x80) {
            out[length++] = (char)c;
            continue;
        }
        int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
        out[length++] = (char)(uint8_t)(leads[more] | c >> 6 * more);
        while (more-- > 0) out[length++] = (char)(uint8_t)(0x80 | (c >> 6 * more & 0x3f));
    }
    return length;
}

static void test_round_trip(void **state) {
    (void)state;
    static vocabulary v;
    char text[2048];
    for (int round = 0; round < 1000; round++) {
        random_vocabulary(&v);
        mia_tokenizer *tokenizer = open_or_fail(&v);
        for (int k = 0; k < 10; k++) {
            bool special = random_below(2) == 0;
            check_round_trip(tokenizer, text, random_letters(text, 60, 0, 4), special, true);
            check_round_trip(tokenizer, text, random_letters(text, 60, 5, 9), special, true);
            check_round_trip(tokenizer, text, random_utf8(text, random_below(60)), special, true);
            size_t length = random_below(200);
            for (size_t i = 0; i < length; i++)
                text[i] = (char)(uint8_t)(random_below(2) ? 0x80 + random_below(128) : 'a');
            for (size_t i = 2; i < length; i++)
                if (memcmp(text + i - 2, SPACE, 3) == 0) text[i] = 'a';
            check_round_trip(tokenizer, text, length, special, false);
        }
        mia_tokenizer_close(tokenizer);
    }
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void expect(mia_detokenizer *detokenizer, int32_t id, const char *text) {
    mia_text piece;
    assert_int_equal(mia_detokenizer_push(detokenizer, id, &piece, NULL), MIA_OK);
    assert_int_equal(piece.length, strlen(text));
    assert_memory_equal(piece.bytes, text, piece.length);
}

static void expect_rest(mia_detokenizer *detokenizer, const char *text) {
    mia_text rest = mia_detokenizer_finish(detokenizer);
    assert_int_equal(rest.length, strlen(text));
    assert_memory_equal(rest.bytes, text, rest.length);
}

enum { SPACED_A = 259, EMPTY, TAG, REST };

static mia_tokenizer *open_small(void) {
    static vocabulary v;
    start(&v);
    add(&v, SPACE "a", 0, NORMAL);
    add(&v, "", 0, NORMAL);
    add(&v, "<tag>", 0, USER);
    add(&v, "b" SPACE "\xc3\xa9", 0, NORMAL);
    add(&v, SPACE, 0, NORMAL);
    return open_or_fail(&v);
}

static mia_detokenizer *open_detokenizer(const mia_tokenizer *tokenizer, unsigned flags) {
    mia_detokenizer *detokenizer;
    assert_int_equal(mia_detokenizer_open(tokenizer, flags, &detokenizer, NULL), MIA_OK);
    return detokenizer;
}

static void test_spaces_and_special_tokens(void **state) {
    (void)state;
    mia_tokenizer *tokenizer = open_small();
    mia_detokenizer *plain = open_detokenizer(tokenizer, 0);
    expect(plain, 1, "");
    expect(plain, EMPTY, "");
    expect(plain, SPACED_A, "a"); /* the space that encoding put there */
    expect(plain, SPACED_A, " a");
    expect(plain, REST, "b \xc3\xa9");
    expect(plain, TAG, "<tag>");
    expect(plain, SPACED_A, "a"); /* and there again */
    expect(plain, 2, "");
    mia_detokenizer_close(plain);

    mia_detokenizer *all = open_detokenizer(tokenizer, MIA_DETOKENIZE_SPECIAL | MIA_DETOKENIZE_CONTINUE);
    expect(all, SPACED_A, " a");
    expect(all, 1, "<s>");
    expect(all, 0, "<unk>");
    expect(all, 3 + 'x', "x");
    expect(all, SPACED_A, " a");
    expect_rest(all, "");
    mia_detokenizer_close(all);
    mia_tokenizer_close(tokenizer);
}

/* Characters out of byte tokens: given out when whole, or as soon as they cannot become whole. */
static void test_bytes(void **state) {
    (void)state;
    mia_tokenizer *tokenizer = open_small();
    mia_detokenizer *d = open_detokenizer(tokenizer, 0);
    expect(d, 3 + 0xf0, "");
    expect(d, 3 + 0x9f, "");
    expect(d, 3 + 0x98, "");
    expect(d, 3 + 0x80, "\xf0\x9f\x98\x80");
    expect(d, 3 + 0xc3, "");
    expect(d, SPACED_A, "\xc3 a");
    expect(d, 3 + 0xe2, "");
    expect(d, 3 + 0xc3, "\xe2");
    expect(d, 3 + 0xa9, "\xc3\xa9");
    expect(d, 3 + 0x80, "\x80"); /* starts nothing */
    expect(d, 3 + 0xc0, "\xc0"); /* only overlong forms start so */
    expect(d, 3 + 0xe0, "");
    expect(d, 3 + 0x80, "\xe0\x80"); /* overlong */
    expect(d, 3 + 0xed, "");
    expect(d, 3 + 0xa0, "\xed\xa0"); /* a surrogate */
    expect(d, 3 + 0xf4, "");
    expect(d, 3 + 0x90, "\xf4\x90"); /* past U+10FFFF */
    expect(d, 3 + 0xf5, "\xf5");
    expect(d, 3 + 0xf0, "");
    expect(d, 3 + 0x9f, "");
    expect_rest(d, "\xf0\x9f");
    expect_rest(d, "");
    expect(d, SPACED_A, " a");
    mia_detokenizer_close(d);
    mia_tokenizer_close(tokenizer);
}

/* Without a token that is a space, the bytes of U+2581 are spaces, and the first of them may be surplus. */
static void test_space_as_bytes(void **state) {
    (void)state;
    static vocabulary v;
    start(&v);
    mia_tokenizer *tokenizer = open_or_fail(&v);
    mia_detokenizer *d = open_detokenizer(tokenizer, 0);
    for (int i = 0; i < 2; i++) {
        expect(d, 3 + 0xe2, "");
        expect(d, 3 + 0x96, "");
        expect(d, 3 + 0x81, i == 0 ? "" : " ");
    }
    mia_detokenizer_close(d);
    check_round_trip(tokenizer, " a  b ", 6, false, true);
    mia_tokenizer_close(tokenizer);
}

static void test_wrong_ids(void **state) {
    (void)state;
    mia_tokenizer *tokenizer = open_small();
    mia_detokenizer *d = open_detokenizer(tokenizer, 0);
    mia_text text;
    mia_error error = {0};
    expect(d, 3 + 0xc3, "");
    assert_int_equal(mia_detokenizer_push(d, -1, &text, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(mia_detokenizer_push(d, 264, &text, &error), MIA_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "264"));
    assert_int_equal(text.length, 0);
    expect(d, 3 + 0xa9, "\xc3\xa9"); /* nothing was lost */
    mia_detokenizer_close(d);
    mia_detokenizer_close(NULL);
    mia_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spaces_and_special_tokens),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_space_as_bytes),
        cmocka_unit_test(test_wrong_ids),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, start_seed, NULL);
}
