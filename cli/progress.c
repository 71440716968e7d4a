/* Bars and plain lines of progress (progress.h). */
#include "progress.h"

#include "common.h"
#include "figures.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_CELLS     24
#define BAR_SECONDS   0.05 /* between two drawings of a bar */
#define PLAIN_SECONDS 5.0  /* between two plain lines, and before the first */
#define BAR_HIDES_FOR 0.15 /* work that is over by then shows no bar */

mia__cli_progress mia__cli_progress_begin(const char *what) {
    double now = mia__cli_seconds();
    return (mia__cli_progress){
        .what = what, .terminal = isatty(STDERR_FILENO) == 1, .began = now, .last = now};
}

static void draw_bar(const mia__cli_progress *progress, double fraction, const char *note) {
    char bar[BAR_CELLS + 1];
    int filled = (int)(fraction * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++) bar[i] = i < filled ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f %%%s%s\033[K", progress->what, bar, fraction * 100,
            note[0] != '\0' ? ", " : "", note);
    fflush(stderr);
}

void mia__cli_progress_show(mia__cli_progress *progress, double fraction, const char *note) {
    double now = mia__cli_seconds();
    double pause = progress->terminal ? BAR_SECONDS : PLAIN_SECONDS;
    if (now - progress->last < pause) return;
    if (progress->terminal && !progress->shown && now - progress->began < BAR_HIDES_FOR) return;
    if (!(fraction >= 0)) fraction = 0;
    if (fraction > 1) fraction = 1;
    progress->last = now;
    if (progress->terminal) {
        progress->shown = true;
        draw_bar(progress, fraction, note);
    } else {
        fprintf(stderr, "%s: %.0f %%%s%s\n", progress->what, fraction * 100, note[0] != '\0' ? ", " : "",
                note);
    }
}

void mia__cli_progress_end(mia__cli_progress *progress) {
    if (!progress->shown) return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    progress->shown = false;
}

bool mia__cli_progress_callback(void *user, double fraction) {
    mia__cli_progress_show(user, fraction, "");
    return !mia__cli_interrupted();
}
