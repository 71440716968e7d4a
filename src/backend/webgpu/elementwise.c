/* Element-wise steps, single and fused: a function works the chain of instructions out for an element, and is called for
 * four elements an invocation, or for those of one word where the operands' buffers do not let fours be read, or the step is a
 * job among others, which read buffers as words. */
#include "backend/webgpu/chain.h"
#include "backend/webgpu/families.h"

#include <stdio.h>
#include <string.h>

/* A step of one operation as the instruction that it is. */
static mia__instruction single(const mia__step *step) {
    mia__instruction instruction = {.op = step->op,
                                    .dtype = step->output.dtype,
                                    .operand_count = (uint8_t)step->input_count,
                                    .attributes = step->attributes,
                                    .custom = step->custom};
    for (uint32_t i = 0; i < step->input_count; i++) instruction.operands[i] = (uint8_t)i;
    return instruction;
}

/* fn chain(x0: T0, x1: T1, ...) -> T. */
static bool put_chain(mia__kernel *k, const mia__chain *chain) {
    if (!mia__chain_functions(k, chain)) return false;
    mia__kernel_put(k, "fn chain(");
    for (uint32_t i = 0; i < k->step->input_count; i++)
        mia__kernel_add(k, "x%u: %s, ", i, mia__kernel_type(k->step->inputs[i].dtype));
    mia__kernel_add(k, ") -> %s {\n", mia__kernel_type(k->step->output.dtype));
    mia__chain_lines(k, chain);
    mia__kernel_add(k, "    return v%u;\n}\n", chain->end - 1);
    return true;
}

/* --- how elements are read ------------------------------------------------------------------------ */

static const char *type_of(const mia__step *step, uint32_t input) {
    const mia__operand *operand = &step->inputs[input];
    return mia__kernel_in_fours(&operand->view) ? mia__kernel_fours_type(operand->dtype) : "u32";
}

/* Whether no buffer would be bound with two types of elements. */
static bool goes_in_fours(const mia__step *step) {
    for (uint32_t i = 0; i < step->input_count; i++) {
        if (step->inputs[i].buffer == step->output.buffer &&
            strcmp(type_of(step, i), mia__kernel_fours_type(step->output.dtype)) != 0)
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (step->inputs[i].buffer == step->inputs[j].buffer &&
                strcmp(type_of(step, i), type_of(step, j)) != 0)
                return false;
    }
    return true;
}

static bool put_inputs(mia__kernel *k, bool fours) {
    for (uint32_t i = 0; i < k->step->input_count; i++) {
        const mia__operand *input = &k->step->inputs[i];
        char name[16];
        (void)snprintf(name, sizeof name, "x%u", i);
        bool read = fours && mia__kernel_in_fours(&input->view) ? mia__kernel_input_fours(k, name, input)
                                                                : mia__kernel_input(k, name, input);
        if (!read) return false;
    }
    return true;
}

static bool put_four(mia__kernel *k) {
    const mia__step *step = k->step;
    const char *type = mia__kernel_type(step->output.dtype);
    mia__kernel_add(k, "fn four(q: u32) -> vec4<%s> {\n    var y: vec4<%s>;\n", type, type);
    for (uint32_t i = 0; i < step->input_count; i++)
        if (mia__kernel_in_fours(&step->inputs[i].view))
            mia__kernel_add(k, "    let x%u = x%u_four(q);\n", i, i);
    mia__kernel_put(k, "    for (var e = 0u; e < 4u; e++) {\n        y[e] = chain(");
    for (uint32_t i = 0; i < step->input_count; i++) {
        if (mia__kernel_in_fours(&step->inputs[i].view))
            mia__kernel_add(k, "x%u[e], ", i);
        else
            mia__kernel_add(k, "x%u_get(x%u_at(q * 4u + e)), ", i, i);
    }
    mia__kernel_put(k, ");\n    }\n    return y;\n}\n");
    return mia__kernel_map_fours(k);
}

static bool put_value(mia__kernel *k) {
    mia__kernel_add(k, "fn value(i: u32) -> %s { return chain(", mia__kernel_type(k->step->output.dtype));
    for (uint32_t i = 0; i < k->step->input_count; i++) mia__kernel_add(k, "x%u_get(x%u_at(i)), ", i, i);
    mia__kernel_put(k, "); }\n");
    return mia__kernel_map(k);
}

bool mia__kernel_elementwise(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__instruction one = single(step);
    bool fused = step->op == MIA__OP_FUSED, fours = k->jobs == NULL && goes_in_fours(step);
    const mia__chain chain = {.step = step,
                              .instructions = fused ? &k->plan->instructions[step->first_instruction] : &one,
                              .end = fused ? step->instruction_count : 1,
                              .prefix = ""};
    if (!(fours ? mia__kernel_output_fours(k) : mia__kernel_output(k)) || !put_inputs(k, fours) ||
        !put_chain(k, &chain))
        return false;
    return fours ? put_four(k) : put_value(k);
}
