/* Element-wise steps, single and fused: a function works the chain of instructions out for an element, and is called for
 * four elements an invocation, or for those of one word where the operands' buffers do not let fours be read. */
#include "backend/webgpu/expression.h"
#include "backend/webgpu/families.h"

#include "graph/ops.h"

#include <stdio.h>
#include <string.h>

typedef struct chain {
    const mia__instruction *instructions;
    uint32_t count;
} chain;

static mia_dtype operand_dtype(const mia__step *step, const chain *c, uint8_t operand) {
    return operand >= MIA__MAX_OPERANDS ? c->instructions[operand - MIA__MAX_OPERANDS].dtype
                                        : step->inputs[operand].dtype;
}

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

/* What an instruction calls its operands: "x0, v2". */
static void name_operands(const mia__instruction *instruction, char *names, size_t capacity) {
    size_t length = 0;
    names[0] = 0;
    for (uint32_t i = 0; i < instruction->operand_count && length < capacity; i++) {
        uint32_t operand = instruction->operands[i];
        bool value = operand >= MIA__MAX_OPERANDS;
        length += (size_t)snprintf(names + length, capacity - length, "%s%c%u", i > 0 ? ", " : "",
                                   value ? 'v' : 'x', value ? operand - MIA__MAX_OPERANDS : operand);
    }
}

/* The functions that instructions call, and the calls. */
static bool put_instructions(mia__kernel *k, const chain *c, char (*calls)[MIA__EXPRESSION_CALL]) {
    for (uint32_t n = 0; n < c->count; n++) {
        const mia__instruction *instruction = &c->instructions[n];
        char operands[64], round[32];
        name_operands(instruction, operands, sizeof operands);
        const mia__expression expression = {
            .op = instruction->op,
            .custom = instruction->custom,
            .dtype = instruction->op == MIA_OP_where ? instruction->dtype
                                                     : operand_dtype(k->step, c, instruction->operands[0]),
            .result = instruction->dtype,
            .attributes = &instruction->attributes,
            .number = n,
            .count = instruction->operand_count,
            .operands = operands};
        if (!mia__expression_put(k, &expression, calls[n], sizeof calls[n]))
            return mia__kernel_refuse(k, instruction->custom != NULL
                                             ? "an operation that a program registered says no WGSL of itself"
                                             : "an operation has no WGSL");
        (void)snprintf(round, sizeof round, "round_%s", mia_dtype_describe(instruction->dtype)->name);
        if (mia__kernel_lacks(k, round)) mia__kernel_round(k, round, instruction->dtype);
    }
    return true;
}

/* fn chain(x0: T0, x1: T1, ...) -> T. */
static bool put_chain(mia__kernel *k, const chain *c) {
    char calls[MIA__MOST_INSTRUCTIONS][MIA__EXPRESSION_CALL];
    if (!put_instructions(k, c, calls)) return false;
    mia__kernel_put(k, "fn chain(");
    for (uint32_t i = 0; i < k->step->input_count; i++)
        mia__kernel_add(k, "x%u: %s, ", i, mia__kernel_type(k->step->inputs[i].dtype));
    mia__kernel_add(k, ") -> %s {\n", mia__kernel_type(k->step->output.dtype));
    for (uint32_t n = 0; n < c->count; n++)
        mia__kernel_add(k, "    let v%u = round_%s(%s);\n", n,
                        mia_dtype_describe(c->instructions[n].dtype)->name, calls[n]);
    mia__kernel_add(k, "    return v%u;\n}\n", c->count - 1);
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
    bool fused = step->op == MIA__OP_FUSED, fours = goes_in_fours(step);
    const chain c = {fused ? &k->plan->instructions[step->first_instruction] : &one,
                     fused ? step->instruction_count : 1};
    if (!(fours ? mia__kernel_output_fours(k) : mia__kernel_output(k)) || !put_inputs(k, fours) ||
        !put_chain(k, &c))
        return false;
    return fours ? put_four(k) : put_value(k);
}
