/* A run: one step after the other, each shared by the pool where it is worth that. It allocates nothing. Between
 * steps, and between the pieces of long ones, it looks whether somebody wants it to stop; units that may take long
 * look themselves (mia__cpu_stopped). */
#include "backend/cpu/check.h"
#include "backend/cpu/cpu.h"

static mia__cpu_task resolve(const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    mia__cpu_task task = {.step = step, .args = mia__host_resolve(run, index), .watch = run->watch};
    for (uint32_t i = 0; i < step->source->input_count; i++)
        task.inputs[i] = (const char *)task.args.inputs[i] + step->input_offset[i];
    task.output = (char *)task.args.output + step->output_offset;
    return task;
}

/* From when to when a thread was at a step; end 0: not at all. */
typedef struct part {
    uint64_t begin, end;
} part;

/* One phase of one task, for the pool. */
typedef struct shared_phase {
    const mia__cpu_task *task;
    const mia__cpu_phase *phase;
    mia__watch *watch;
    double done, share; /* of the run: before this phase, and in it */
    part *parts;        /* one a thread; NULL when nobody listens */
} shared_phase;

static void run_pieces(const shared_phase *p, unsigned thread, size_t begin, size_t end) {
    mia__cpu_function function = p->phase->function;
    while (end - begin > p->phase->piece) {
        if (mia__watch_cancelled(p->watch)) return;
        function(p->task, begin, begin + p->phase->piece);
        begin += p->phase->piece;
        if (thread == 0)
            mia__watch_tell(p->watch, p->done + p->share * (double)begin / (double)p->phase->units);
    }
    function(p->task, begin, end);
}

static void run_units(const void *user, unsigned thread, size_t begin, size_t end) {
    const shared_phase *p = user;
    if (p->parts == NULL) {
        run_pieces(p, thread, begin, end);
        return;
    }
    part *mine = &p->parts[thread];
    uint64_t began = mia__nanoseconds();
    if (mine->end == 0) mine->begin = began;
    run_pieces(p, thread, begin, end);
    mine->end = mia__nanoseconds();
}

static void run_step(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step,
                     part *parts) {
    mia__cpu_task task = resolve(run, index, step);
    double steps = (double)run->plan->step_count;
    for (uint32_t i = 0; i < step->phase_count && !mia__watch_cancelled(run->watch); i++) {
        double share = 1 / steps / step->phase_count;
        const shared_phase phase = {.task = &task,
                                    .phase = &step->phases[i],
                                    .watch = run->watch,
                                    .done = index / steps + i * share,
                                    .share = share,
                                    .parts = parts};
        if (step->shared)
            mia__pool_for(cpu->pool, step->phases[i].units, run_units, &phase);
        else
            run_units(&phase, 0, 0, step->phases[i].units);
    }
}

/* Tells of the step, and of what other threads did of it. */
static void run_traced(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    part parts[MIA__POOL_MOST_THREADS] = {{0}};
    unsigned threads = mia__pool_threads(cpu->pool);
    mia__span span = {.step = index, .begin = mia__nanoseconds()};
    run_step(cpu, run, index, step, parts);
    span.end = mia__nanoseconds();
    run->watch->trace(run->watch->trace_user, &span);
    for (unsigned i = 1; i < threads; i++) {
        if (parts[i].end == 0) continue;
        const mia__span of = {index, i, parts[i].begin, parts[i].end};
        run->watch->trace(run->watch->trace_user, &of);
    }
}

void mia__cpu_run(mia__backend *backend, mia__run *run) {
    const mia__cpu_program *program = run->program;
    mia__cpu *cpu = (mia__cpu *)backend;
    bool traced = mia__watch_traces(run->watch), checked = run->check != NULL;
    for (uint32_t i = 0; i < program->count && !mia__watch_cancelled(run->watch); i++) {
        mia__cpu_check check;
        if (checked) mia__cpu_check_begin(&check, cpu, run, i);
        if (traced)
            run_traced(cpu, run, i, &program->steps[i]);
        else
            run_step(cpu, run, i, &program->steps[i], NULL);
        if (checked && !mia__cpu_check_end(&check)) checked = false; /* the first is what matters */
        mia__watch_tell(run->watch, (double)(i + 1) / program->count);
    }
    backend->fallbacks += program->fallbacks;
    bool cancelled = mia__watch_cancelled(run->watch);
    mia__complete(run->completion, cancelled ? MIA_ERROR_CANCELLED : MIA_OK, NULL);
}
