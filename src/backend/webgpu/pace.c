/* How long the GPU takes for what is estimated as a nanosecond: estimates are those of one GPU, and others are some times
 * faster or slower. Nothing but how runs are cut into pieces depends on it.
 *
 * When a submission ended is known to lie between two looks only, so that what it took has a least and a most:
 *
 *         sent     looked: not yet     came, with the next look
 *     ------|-------------|------------------|------
 *           |--- least ---|                  |
 *           |-------------- most ------------|
 *
 * Where others were before it, it began when the last of them ended. The estimate moves no further than it must to lie
 * between the two, and by a factor of two at most, since others may use the GPU, too. */
#include "backend/webgpu/webgpu.h"

#define SLOWEST 1000.0
#define FASTEST 0.125
#define STEP    2.0
#define ENOUGH  1e6 /* nanoseconds; what takes less is short enough */

void mia__webgpu_look(mia__webgpu *webgpu, bool block) {
    mia__gpu *gpu = webgpu->gpu;
    uint64_t began = gpu->type->now(gpu);
    gpu->type->poll(gpu, block);
    webgpu->pace.looked = began;
}

static double between(uint64_t begin, uint64_t end) {
    return end > begin ? (double)(end - begin) : 0;
}

static double clamp(double x, double least, double most) {
    return x < least ? least : x > most ? most : x;
}

void mia__webgpu_pace_learn(mia__webgpu *webgpu, const mia__webgpu_sent *sent) {
    mia__webgpu_pace *pace = &webgpu->pace;
    const mia__webgpu_pace before = *pace;
    pace->ended_least = pace->looked;
    pace->ended_most = webgpu->gpu->type->now(webgpu->gpu);
    uint64_t begin_least = sent->before > before.ended_least ? sent->before : before.ended_least;
    uint64_t begin_most = sent->after > before.ended_most ? sent->after : before.ended_most;
    double least = between(begin_most, pace->looked), most = between(begin_least, pace->ended_most);
    double estimate = sent->nanoseconds, speed = webgpu->speed;
    if (estimate <= 0 || most <= 0) return; /* most is 0 where there is no clock */
    double nearest = clamp(speed, least / estimate, most / estimate);
    if (nearest > speed && least < ENOUGH) return;
    webgpu->speed = clamp(clamp(nearest, speed / STEP, speed * STEP), FASTEST, SLOWEST);
}
