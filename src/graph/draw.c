/* Boxes and arrows as Mermaid, DOT and JSON (draw.h). Texts may hold anything: each format's special characters
 * are escaped. */
#include "graph/draw.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Colours of the kinds: fill and line. */
static const struct {
    const char *name, *fill, *line;
} kinds[MIA__BOX_KINDS] = {
    [MIA__BOX_INPUT] = {"input", "#dbeafe", "#1d4ed8"},
    [MIA__BOX_OUTPUT] = {"output", "#dcfce7", "#15803d"},
    [MIA__BOX_CONSTANT] = {"constant", "#f3f4f6", "#9ca3af"},
    [MIA__BOX_MOVEMENT] = {"movement", "#ffffff", "#6b7280"},
    [MIA__BOX_ELEMENTWISE] = {"elementwise", "#fef9c3", "#a16207"},
    [MIA__BOX_REDUCTION] = {"reduction", "#ffedd5", "#c2410c"},
    [MIA__BOX_COMPOSITE] = {"composite", "#f3e8ff", "#7e22ce"},
    [MIA__BOX_CONTRACTION] = {"contraction", "#fee2e2", "#b91c1c"},
};

/* --- writing ---------------------------------------------------------------------------------- */

static void put(const mia__drawing *d, const char *text) {
    d->write(d->user, text, strlen(text));
}

static void putf(const mia__drawing *d, const char *format, ...) MIA_PRINTF(2, 3);
static void putf(const mia__drawing *d, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(d, text);
}

/* Text with what the format takes for markup spelt otherwise. */
static void put_escaped(const mia__drawing *d, const char *text) {
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool json = d->format == MIA_DRAWING_JSON;
        if (json && (c == '"' || c == '\\'))
            putf(d, "\\%c", c);
        else if (json && c < 0x20)
            putf(d, "\\u%04x", c);
        else if (!json && strchr("<>&\"#", c) != NULL)
            putf(d, d->format == MIA_DRAWING_MERMAID ? "#%d;" : "&#%d;", c);
        else if (c >= 0x20)
            d->write(d->user, text, 1);
    }
}

/* --- the formats ------------------------------------------------------------------------------ */

void mia__draw_begin(mia__drawing *d, const char *title) {
    switch (d->format) {
    case MIA_DRAWING_MERMAID:
        put(d, "flowchart TD\n");
        for (int k = 0; k < MIA__BOX_KINDS; k++)
            putf(d, "    classDef %s fill:%s,stroke:%s,color:#111827\n", kinds[k].name, kinds[k].fill,
                 kinds[k].line);
        break;
    case MIA_DRAWING_DOT:
        put(d, "digraph tape {\n    label=\"");
        put_escaped(d, title);
        put(d, "\";\n    labelloc=t; fontname=\"Helvetica\"; fontsize=16; fontcolor=\"#111827\"; "
               "bgcolor=white;\n"
               "    ranksep=0.35; nodesep=0.25; pad=0.3; splines=spline;\n"
               "    node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, "
               "fontcolor=\"#111827\", penwidth=1.2, margin=\"0.12,0.06\", height=0.3];\n"
               "    edge [color=\"#6b7280\", arrowsize=0.6, fontname=\"Helvetica\", fontsize=9, "
               "fontcolor=\"#6b7280\"];\n");
        break;
    case MIA_DRAWING_JSON:
        put(d, "{\"title\": \"");
        put_escaped(d, title);
        put(d, "\",\n \"boxes\": [");
        break;
    }
}

static void box_dot(const mia__drawing *d, uint32_t id, mia__box_kind kind, const char *title,
                    const char *note) {
    putf(d, "    n%u [fillcolor=\"%s\", color=\"%s\"%s, label=<<b>", (unsigned)id, kinds[kind].fill,
         kinds[kind].line, kind == MIA__BOX_CONSTANT ? ", fontsize=9, style=filled, penwidth=0.8" : "");
    put_escaped(d, title);
    put(d, "</b>");
    if (note[0] != '\0') {
        put(d, "<br/><font point-size=\"9\" color=\"#4b5563\">");
        put_escaped(d, note);
        put(d, "</font>");
    }
    put(d, ">];\n");
}

static void box_mermaid(const mia__drawing *d, uint32_t id, mia__box_kind kind, const char *title,
                        const char *note) {
    bool round = kind == MIA__BOX_INPUT || kind == MIA__BOX_OUTPUT;
    putf(d, "    n%u%s\"<b>", (unsigned)id, round ? "([" : "[");
    put_escaped(d, title);
    put(d, "</b>");
    if (note[0] != '\0') put(d, "<br/>");
    put_escaped(d, note);
    putf(d, "\"%s:::%s\n", round ? "])" : "]", kinds[kind].name);
}

void mia__draw_box(mia__drawing *d, uint32_t id, mia__box_kind kind, const char *title, const char *note) {
    switch (d->format) {
    case MIA_DRAWING_MERMAID: box_mermaid(d, id, kind, title, note); break;
    case MIA_DRAWING_DOT: box_dot(d, id, kind, title, note); break;
    case MIA_DRAWING_JSON:
        putf(d, "%s\n  {\"id\": %u, \"kind\": \"%s\", \"title\": \"", d->boxes > 0 ? "," : "", (unsigned)id,
             kinds[kind].name);
        put_escaped(d, title);
        put(d, "\", \"note\": \"");
        put_escaped(d, note);
        put(d, "\"}");
        break;
    }
    d->boxes++;
}

void mia__draw_arrow(mia__drawing *d, uint32_t from, uint32_t to, const char *label) {
    switch (d->format) {
    case MIA_DRAWING_MERMAID:
        putf(d, "    n%u -->", (unsigned)from);
        if (label[0] != '\0') {
            put(d, "|\"");
            put_escaped(d, label);
            put(d, "\"|");
        }
        putf(d, " n%u\n", (unsigned)to);
        break;
    case MIA_DRAWING_DOT:
        putf(d, "    n%u -> n%u", (unsigned)from, (unsigned)to);
        if (label[0] != '\0') {
            put(d, " [label=\" ");
            put_escaped(d, label);
            put(d, "\"]");
        }
        put(d, ";\n");
        break;
    case MIA_DRAWING_JSON:
        put(d, d->arrows > 0 ? "," : "\n ],\n \"arrows\": [");
        putf(d, "\n  {\"from\": %u, \"to\": %u, \"label\": \"", (unsigned)from, (unsigned)to);
        put_escaped(d, label);
        put(d, "\"}");
        break;
    }
    d->arrows++;
}

void mia__draw_end(mia__drawing *d) {
    if (d->format == MIA_DRAWING_JSON) put(d, d->arrows > 0 ? "\n ]}\n" : "\n ],\n \"arrows\": []}\n");
    if (d->format == MIA_DRAWING_DOT) put(d, "}\n");
}
