/* A run: one step after the other, or some together, each shared by the pool where it is worth that. It allocates nothing. Between
 * steps, and between the pieces of long ones, it looks whether somebody wants it to stop; units that may take long
 * look themselves (mia__cpu_stopped). */
#include "backend/cpu/check.h"
#include "backend/cpu/cpu.h"

static mia__cpu_task resolve(const mia__run *run, uint32_t index, const mia__cpu_step *step) {
    mia__cpu_task task = {.step = step, .args = mia__host_resolve(run, index), .watch = run->watch};
    for (uint32_t i = 0; i < step->source->input_count; i++)
        task.inputs[i] = (const char *)task.args.inputs[i] + step->input_offset[i];
    task.output = (char *)task.args.output + step->output_offset;
    if (task.args.scratch == NULL) { /* that of the first of its group, which reads the same x */
        uint32_t first = mia__cpu_group_of(run->plan, index);
        if (first != index) task.args.scratch = mia__host_resolve(run, first).scratch;
    }
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

/* Where a run is: what its phases need beside their task. */
typedef struct place {
    mia__cpu *cpu;
    const mia__run *run;
    part *parts;
    double done, share; /* of the run: before what is next, and in each phase of it */
} place;

static shared_phase begin_phase(const place *at, const mia__cpu_task *task, uint32_t phase) {
    return (shared_phase){.task = task,
                          .phase = &task->step->phases[phase],
                          .watch = at->run->watch,
                          .done = at->done,
                          .share = at->share,
                          .parts = at->parts};
}

/* The first `count` phases of a task. */
static void run_phases(place *at, const mia__cpu_task *task, uint32_t count, bool shared) {
    for (uint32_t i = 0; i < count && !mia__watch_cancelled(at->run->watch); i++) {
        const shared_phase phase = begin_phase(at, task, i);
        if (shared)
            mia__pool_for(at->cpu->pool, phase.phase->units, run_units, &phase);
        else
            run_units(&phase, 0, 0, phase.phase->units);
        at->done += at->share;
    }
}

/* A step with cores: its parts, one after the other. */
static void run_fused(place *at, const mia__cpu_task *whole) {
    const mia__cpu_fused *fused = whole->step->fused;
    mia__cpu_task tasks[MIA__CPU_MOST_PARTS];
    mia__cpu_fused_tasks(whole, tasks);
    double phases = 0;
    for (uint32_t p = 0; p < fused->count; p++)
        phases += fused->parts[p].runs ? fused->parts[p].step.phase_count : 0;
    at->share /= phases;
    for (uint32_t p = 0; p < fused->count; p++) {
        const mia__cpu_step *step = &fused->parts[p].step;
        if (fused->parts[p].runs) run_phases(at, &tasks[p], step->phase_count, step->shared);
    }
}

static void run_step(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step,
                     part *parts) {
    mia__cpu_task task = resolve(run, index, step);
    double steps = (double)run->plan->step_count;
    place at = {cpu, run, parts, index / steps, 1 / steps};
    if (step->fused != NULL) {
        run_fused(&at, &task);
        return;
    }
    if (step->phase_count > 0) at.share /= step->phase_count;
    run_phases(&at, &task, step->phase_count, step->shared);
}

/* --- steps that run together ------------------------------------------------------------------ */

#define MOST_JOINED 8

/* The last phases of several tasks, whose units are counted through. */
typedef struct joined_phases {
    shared_phase phases[MOST_JOINED];
    size_t begins[MOST_JOINED + 1];
    uint32_t count;
} joined_phases;

static void run_joined_units(const void *user, unsigned thread, size_t begin, size_t end) {
    const joined_phases *j = user;
    for (uint32_t i = 0; i < j->count; i++) {
        size_t first = begin > j->begins[i] ? begin : j->begins[i];
        size_t last = end < j->begins[i + 1] ? end : j->begins[i + 1];
        if (first < last) run_units(&j->phases[i], thread, first - j->begins[i], last - j->begins[i]);
    }
}

/* Matmuls of one x: the first brings it into the form that all read; then the units of all are shared out at once. */
static void run_joined(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step,
                       part *parts) {
    mia__cpu_task tasks[MOST_JOINED][MIA__CPU_MOST_PARTS];
    double steps = (double)run->plan->step_count;
    joined_phases joined = {.count = step->joined + 1};
    const mia__cpu_task *leader = NULL;
    place at = {cpu, run, parts, index / steps, joined.count / steps / mia__cpu_core(step)->phase_count};
    for (uint32_t i = 0; i < joined.count; i++) {
        mia__cpu_task *task = tasks[i], whole = resolve(run, index + i, &step[i]);
        *task = whole;
        if (step[i].fused != NULL) {
            mia__cpu_fused_tasks(&whole, task);
            task += step[i].fused->core;
        }
        uint32_t last = task->step->phase_count - 1;
        if (leader == NULL) {
            leader = task;
            run_phases(&at, leader, last, step->shared);
        }
        for (uint32_t c = 0; c < task->core_count || c == 0; c++) task[c].args.scratch = leader->args.scratch;
        joined.phases[i] = begin_phase(&at, task, last);
        joined.begins[i + 1] = joined.begins[i] + task->step->phases[last].units;
    }
    if (mia__watch_cancelled(run->watch)) return;
    if (step->shared)
        mia__pool_for(cpu->pool, joined.begins[joined.count], run_joined_units, &joined);
    else
        run_joined_units(&joined, 0, 0, joined.begins[joined.count]);
}

/* --- the run ---------------------------------------------------------------------------------- */

typedef void (*step_function)(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step,
                              part *parts);

/* Tells of the step, and of what other threads did of it. */
static void run_traced(mia__cpu *cpu, const mia__run *run, uint32_t index, const mia__cpu_step *step,
                       step_function function) {
    part parts[MIA__POOL_MOST_THREADS] = {{0}};
    unsigned threads = mia__pool_threads(cpu->pool);
    uint32_t joined = function == run_joined ? step->joined : 0;
    mia__span span = {.step = index, .begin = mia__nanoseconds(), .joined = joined};
    function(cpu, run, index, step, parts);
    span.end = mia__nanoseconds();
    run->watch->trace(run->watch->trace_user, &span);
    for (unsigned i = 1; i < threads; i++) {
        if (parts[i].end == 0) continue;
        const mia__span of = {index, i, parts[i].begin, parts[i].end, joined};
        run->watch->trace(run->watch->trace_user, &of);
    }
}

void mia__cpu_run(mia__backend *backend, mia__run *run) {
    const mia__cpu_program *program = run->program;
    mia__cpu *cpu = (mia__cpu *)backend;
    bool traced = mia__watch_traces(run->watch), checked = run->check != NULL;
    run->joined = 0;
    for (uint32_t i = 0; i < program->count && !mia__watch_cancelled(run->watch); i++) {
        const mia__cpu_step *step = &program->steps[i];
        bool joins = step->joined > 0 && !checked; /* checked, each runs by itself, to the same numbers */
        step_function function = joins ? run_joined : run_step;
        mia__cpu_check check;
        if (checked) mia__cpu_check_begin(&check, cpu, run, i);
        if (traced)
            run_traced(cpu, run, i, step, function);
        else
            function(cpu, run, i, step, NULL);
        if (checked && !mia__cpu_check_end(&check)) checked = false; /* the first is what matters */
        if (joins) {
            run->joined += step->joined;
            i += step->joined;
        }
        mia__watch_tell(run->watch, (double)(i + 1) / program->count);
    }
    backend->fallbacks += program->fallbacks;
    bool cancelled = mia__watch_cancelled(run->watch);
    mia__complete(run->completion, cancelled ? MIA_ERROR_CANCELLED : MIA_OK, NULL);
}
