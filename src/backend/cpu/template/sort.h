/* Sorting of items along lines, included once for each kind of item (sort.c), which has defined
 *
 *     SORT_NAME             what the kind is called
 *     SORT_ITEM             an element's key, with or without its place
 *     SORT_KEY              uint32_t or uint64_t
 *     SORT_MAKE(key, i)     an item
 *     SORT_KEY_OF(item)     its key
 *     SORT_LESS(a, b)       a total order: by key, then by place
 *     SORT_LOAD(...)        keys of elements (load_keys_32 or _64)
 *     SORT_STORE(...)       items into the result
 *
 * Keys are sorted ascending; sort.c makes them so that this gives the order asked for. Items that are made in
 * order of places and sorted by key with a stable method come out ordered by place among equals. */

#define SORT_PASTE2(a, b) a##_##b
#define SORT_PASTE(a, b)  SORT_PASTE2(a, b)
#define SORT_(function)   SORT_PASTE(function, SORT_NAME)

/* --- lines ------------------------------------------------------------------------------------- */

/* Moves items to a place before them, or elsewhere. */
static void SORT_(move)(const mia__cpu_task *task, SORT_ITEM *to, const SORT_ITEM *from, size_t count) {
    mia__cpu_move(task, (char *)to, (const char *)from, count * sizeof *to);
}

static void SORT_(insert)(SORT_ITEM *items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        SORT_ITEM item = items[i];
        size_t at = i;
        for (; at > 0 && SORT_LESS(item, items[at - 1]); at--) items[at] = items[at - 1];
        items[at] = item;
    }
}

/* Items begin .. end of the merged order of two sorted runs; a_from and b_from of them come before. */
static void SORT_(merge_part)(const mia__cpu_task *task, const SORT_ITEM *a, size_t a_count, size_t a_from,
                              const SORT_ITEM *b, size_t b_count, size_t b_from, SORT_ITEM *out,
                              size_t count) {
    const SORT_ITEM *a_end = a + a_count, *b_end = b + b_count, *end = out + count;
    a += a_from;
    b += b_from;
    while (out < end && !mia__cpu_stopped(task)) {
        const SORT_ITEM *out_end = end - out < MIA__CPU_LOOK ? end : out + MIA__CPU_LOOK;
        while (a < a_end && b < b_end && out < out_end) {
            bool second = SORT_LESS(*b, *a);
            *out++ = second ? *b : *a;
            b += second;
            a += !second;
        }
        if (b == b_end)
            while (a < a_end && out < out_end) *out++ = *a++;
        else if (a == a_end)
            while (b < b_end && out < out_end) *out++ = *b++;
    }
}

/* How many of the first `place` items of the merged order come from a. */
static size_t SORT_(merge_split)(const SORT_ITEM *a, size_t a_count, const SORT_ITEM *b, size_t b_count,
                                 size_t place) {
    size_t low = place > b_count ? place - b_count : 0, high = place < a_count ? place : a_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (SORT_LESS(b[place - middle - 1], a[middle]))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Insertion in short runs, then merges, to and fro. */
static void SORT_(sort_few)(const mia__cpu_task *task, SORT_ITEM *items, SORT_ITEM *other, size_t count) {
    SORT_ITEM *from = items, *to = other;
    for (size_t first = 0; first < count; first += RUN)
        SORT_(insert)(items + first, count - first < RUN ? count - first : RUN);
    for (size_t run = RUN; run < count; run *= 2) {
        for (size_t first = 0; first < count; first += 2 * run) {
            size_t left = count - first, a = left < run ? left : run;
            size_t b = left - a < run ? left - a : run;
            SORT_(merge_part)(task, from + first, a, 0, from + first + a, b, 0, to + first, a + b);
        }
        SORT_ITEM *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
}

/* Byte by byte of the key, the least first; bytes that all share are skipped. */
static void SORT_(sort_many)(const mia__cpu_task *task, SORT_ITEM *items, SORT_ITEM *other, size_t count) {
    uint32_t places[sizeof(SORT_KEY)][256] = {{0}};
    unsigned bytes = (unsigned)input_bytes(task);
    for (size_t i = 0, end; i < count && !mia__cpu_stopped(task);)
        for (end = mia__cpu_look_after(i, count); i < end; i++)
            for (unsigned byte = 0; byte < bytes; byte++)
                places[byte][SORT_KEY_OF(items[i]) >> 8 * byte & 0xff]++;
    SORT_ITEM *from = items, *to = other;
    for (unsigned byte = 0; byte < bytes; byte++) {
        uint32_t sum = 0, *place = places[byte];
        if (place[SORT_KEY_OF(items[0]) >> 8 * byte & 0xff] == count) continue;
        for (unsigned digit = 0; digit < 256; digit++) {
            uint32_t here = place[digit];
            place[digit] = sum;
            sum += here;
        }
        for (size_t i = 0, end; i < count;) {
            if (mia__cpu_stopped(task)) return; /* places may be of some items only */
            for (end = mia__cpu_look_after(i, count); i < end; i++) {
                SORT_ITEM item = from[i];
                to[place[SORT_KEY_OF(item) >> 8 * byte & 0xff]++] = item;
            }
        }
        SORT_ITEM *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) SORT_(move)(task, items, from, count);
}

static void SORT_(sort)(const mia__cpu_task *task, SORT_ITEM *items, SORT_ITEM *other, size_t count) {
    if (count <= FEW)
        SORT_(sort_few)(task, items, other, count);
    else
        SORT_(sort_many)(task, items, other, count);
}

/* Items of elements begin .. end of a line. */
static void SORT_(load)(const mia__cpu_task *task, int64_t in, int64_t begin, int64_t end, SORT_ITEM *items) {
    SORT_KEY keys[CHUNK];
    for (int64_t first = begin; first < end && !mia__cpu_stopped(task); first += CHUNK) {
        int64_t count = end - first < CHUNK ? end - first : CHUNK;
        SORT_LOAD(task, in, first, count, keys);
        for (int64_t i = 0; i < count; i++) *items++ = SORT_MAKE(keys[i], (uint32_t)(first + i));
    }
}

/* Elements begin .. end of the result's line that starts at `out`, from their items. */
static void SORT_(store)(const mia__cpu_task *task, int64_t out, int64_t begin, int64_t end,
                         const SORT_ITEM *items) {
    for (int64_t last; begin < end && !mia__cpu_stopped(task); items += last - begin, begin = last) {
        last = end - begin < MIA__CPU_LOOK ? end : begin + MIA__CPU_LOOK;
        SORT_STORE(task, out, begin, last, items);
    }
}

/* --- whole lines: dealt out to lanes ------------------------------------------------------------ */

static void SORT_(run_lines)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t lane = begin; lane < end; lane++) {
        SORT_ITEM *items = (SORT_ITEM *)task->args.scratch + lane * (size_t)lines->room;
        for (int64_t line = (int64_t)lane; line < lines->count; line += lines->lanes) {
            int64_t at[2];
            mia__cpu_loop_offsets(&lines->outer, 0, (size_t)line, 2, at);
            if (mia__cpu_stopped(task)) return;
            SORT_(load)(task, at[1], 0, lines->length, items);
            SORT_(sort)(task, items, items + lines->length, (size_t)lines->length);
            SORT_(store)(task, at[0], 0, lines->kept, items);
        }
    }
}

/* --- few, long lines: four pieces, merged into two, into one ------------------------------------ */

static SORT_ITEM *SORT_(items_of)(const mia__cpu_task *task, size_t line) {
    return (SORT_ITEM *)task->args.scratch + line * 2 * (size_t)task->step->as.lines.length;
}

static void SORT_(run_pieces)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t at[2], first = piece_begin(lines, unit % PIECES),
                       last = piece_begin(lines, unit % PIECES + 1);
        SORT_ITEM *items = SORT_(items_of)(task, unit / PIECES);
        mia__cpu_loop_offsets(&lines->outer, 0, unit / PIECES, 2, at);
        SORT_(load)(task, at[1], first, last, items + first);
        SORT_(sort)(task, items + first, items + lines->length + first, (size_t)(last - first));
    }
}

/* Part `part` of PARTS of a merge of pieces first .. middle and middle .. last. */
static void SORT_(merge)(const mia__cpu_task *task, const SORT_ITEM *from, SORT_ITEM *to, size_t first,
                         size_t middle, size_t last, size_t part) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    size_t a_begin = (size_t)piece_begin(lines, first), b_begin = (size_t)piece_begin(lines, middle);
    size_t a_count = b_begin - a_begin, b_count = (size_t)piece_begin(lines, last) - b_begin;
    const SORT_ITEM *a = from + a_begin, *b = from + b_begin;
    size_t begin = (a_count + b_count) * part / PARTS, end = (a_count + b_count) * (part + 1) / PARTS;
    size_t a_from = SORT_(merge_split)(a, a_count, b, b_count, begin);
    SORT_(merge_part)(task, a, a_count, a_from, b, b_count, begin - a_from, to + begin, end - begin);
}

static void SORT_(run_pairs)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t unit = begin; unit < end; unit++) {
        SORT_ITEM *items = SORT_(items_of)(task, unit / (2 * PARTS));
        size_t first = unit / PARTS % 2 * 2;
        SORT_(merge)
        (task, items, items + lines->length + piece_begin(lines, first), first, first + 1, first + 2,
         unit % PARTS);
    }
}

static void SORT_(run_halves)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t unit = begin; unit < end; unit++) {
        SORT_ITEM *items = SORT_(items_of)(task, unit / PARTS);
        int64_t at[2], part = (int64_t)(unit % PARTS), first = lines->length * part / PARTS;
        int64_t last = lines->length * (part + 1) / PARTS;
        mia__cpu_loop_offsets(&lines->outer, 0, unit / PARTS, 2, at);
        SORT_(merge)(task, items + lines->length, items, 0, PIECES / 2, PIECES, (size_t)part);
        if (first < lines->kept)
            SORT_(store)(task, at[0], first, last < lines->kept ? last : lines->kept, items + first);
    }
}

/* --- the first few of each line ----------------------------------------------------------------- */

/* The best so far: `held` items in no order, of which those that came before `limit` was found are the first
 * `kept`. What is not before the limit cannot be among the first any more. */
typedef struct SORT_(best) {
    SORT_ITEM *items;
    size_t held, kept, room;
    SORT_KEY limit;
    bool limited;
} SORT_(best);

/* Where there is no more room, the best are sorted out. */
static void SORT_(collect)(const mia__cpu_task *task, SORT_(best) * best, SORT_ITEM item) {
    if (best->limited && SORT_KEY_OF(item) >= best->limit) return;
    best->items[best->held++] = item;
    if (best->held < best->room) return;
    SORT_(sort)(task, best->items, best->items + best->room, best->held);
    best->held = best->kept;
    best->limit = SORT_KEY_OF(best->items[best->kept - 1]);
    best->limited = true;
}

/* The first `kept` of elements begin .. end (not fewer), in order, into items. */
static void SORT_(select)(const mia__cpu_task *task, int64_t in, int64_t begin, int64_t end,
                          SORT_ITEM *items) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    SORT_(best) best = {.items = items, .kept = (size_t)lines->kept, .room = (size_t)lines->room / 2};
    SORT_KEY keys[CHUNK];
    for (int64_t first = begin; first < end && !mia__cpu_stopped(task); first += CHUNK) {
        int64_t count = end - first < CHUNK ? end - first : CHUNK;
        SORT_LOAD(task, in, first, count, keys);
        SORT_KEY limit = best.limit, some = !best.limited;
        for (int64_t i = 0; i < count; i++) some |= keys[i] < limit;
        for (int64_t i = 0; some != 0 && i < count; i++)
            SORT_(collect)(task, &best, SORT_MAKE(keys[i], (uint32_t)(first + i)));
    }
    SORT_(sort)(task, items, items + best.room, best.held);
}

static void SORT_(run_select)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t lane = begin; lane < end; lane++) {
        SORT_ITEM *items = (SORT_ITEM *)task->args.scratch + lane * (size_t)lines->room;
        for (int64_t line = (int64_t)lane; line < lines->count; line += lines->lanes) {
            int64_t at[2];
            mia__cpu_loop_offsets(&lines->outer, 0, (size_t)line, 2, at);
            if (mia__cpu_stopped(task)) return;
            SORT_(select)(task, at[1], 0, lines->length, items);
            SORT_(store)(task, at[0], 0, lines->kept, items);
        }
    }
}

static void SORT_(run_select_pieces)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    for (size_t unit = begin; unit < end; unit++) {
        size_t pieces = (size_t)lines->pieces;
        int64_t at[2];
        mia__cpu_loop_offsets(&lines->outer, 0, unit / pieces, 2, at);
        SORT_(select)
        (task, at[1], piece_begin(lines, unit % pieces), piece_begin(lines, unit % pieces + 1),
         (SORT_ITEM *)task->args.scratch + unit * (size_t)lines->room);
    }
}

/* Brings the best of the pieces together and sorts them. */
static void SORT_(run_select_lines)(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_lines *lines = &task->step->as.lines;
    size_t pieces = (size_t)lines->pieces, kept = (size_t)lines->kept, room = (size_t)lines->room;
    for (size_t line = begin; line < end; line++) {
        SORT_ITEM *items = (SORT_ITEM *)task->args.scratch + line * pieces * room;
        int64_t at[2];
        mia__cpu_loop_offsets(&lines->outer, 0, line, 2, at);
        for (size_t piece = 1; piece < pieces; piece++)
            SORT_(move)(task, items + piece * kept, items + piece * room, kept);
        SORT_(sort)(task, items, items + pieces * kept, pieces * kept);
        SORT_(store)(task, at[0], 0, lines->kept, items);
    }
}

static const sorter SORT_(sorter) = {
    .item_bytes = sizeof(SORT_ITEM),
    .lines = SORT_(run_lines),
    .pieces = SORT_(run_pieces),
    .pairs = SORT_(run_pairs),
    .halves = SORT_(run_halves),
    .select = SORT_(run_select),
    .select_pieces = SORT_(run_select_pieces),
    .select_lines = SORT_(run_select_lines),
};

#undef SORT_NAME
#undef SORT_ITEM
#undef SORT_KEY
#undef SORT_MAKE
#undef SORT_KEY_OF
#undef SORT_LESS
#undef SORT_LOAD
#undef SORT_STORE
