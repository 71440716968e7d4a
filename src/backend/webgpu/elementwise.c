/* Element-wise steps, single and fused: one invocation a word of the result, which works the chain of instructions out
 * for each of its elements. */
#include "backend/webgpu/expression.h"
#include "backend/webgpu/families.h"

#include "graph/ops.h"

#include <stdio.h>

/* What an instruction calls an operand. */
static void put_operand(mia__kernel *k, uint8_t operand) {
    if (operand >= MIA__MAX_OPERANDS)
        mia__kernel_add(k, "v%u", operand - MIA__MAX_OPERANDS);
    else
        mia__kernel_add(k, "x%u", operand);
}

static mia_dtype operand_dtype(const mia__step *step, const mia__instruction *instructions, uint8_t operand) {
    return operand >= MIA__MAX_OPERANDS ? instructions[operand - MIA__MAX_OPERANDS].dtype
                                        : step->inputs[operand].dtype;
}

/* The functions that an instruction calls; false when it has none. `callee` gets its name. */
static bool put_functions(mia__kernel *k, const mia__instruction *instructions, uint32_t index, char *callee,
                          size_t capacity) {
    const mia__instruction *instruction = &instructions[index];
    const mia__step *step = k->step;
    mia_dtype of = operand_dtype(step, instructions, instruction->operands[0]);
    if (instruction->custom != NULL) return false;
    if (instruction->op == MIA_OP_convert)
        return mia__expression_convert(k, of, instruction->dtype, callee, capacity);
    if (instruction->op == MIA_OP_where) of = instruction->dtype;
    return mia__expression(k, instruction->op, of, &instruction->attributes, index, callee, capacity);
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

bool mia__kernel_elementwise(mia__kernel *k) {
    const mia__step *step = k->step;
    const mia__instruction one = single(step);
    bool fused = step->op == MIA__OP_FUSED;
    const mia__instruction *instructions = fused ? &k->plan->instructions[step->first_instruction] : &one;
    uint32_t count = fused ? step->instruction_count : 1;
    char callees[MIA__MOST_INSTRUCTIONS][64];
    if (!mia__kernel_output(k)) return false;
    for (uint32_t i = 0; i < step->input_count; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%u", i);
        if (!mia__kernel_input(k, name, &step->inputs[i])) return false;
    }
    for (uint32_t n = 0; n < count; n++) {
        if (!put_functions(k, instructions, n, callees[n], sizeof callees[n]))
            return mia__kernel_refuse(k, "an operation has no WGSL");
        char round[32];
        (void)snprintf(round, sizeof round, "round%u", n);
        mia__kernel_round(k, round, instructions[n].dtype);
    }
    mia__kernel_add(k, "fn value(i: u32) -> %s {\n", mia__kernel_type(step->output.dtype));
    for (uint32_t i = 0; i < step->input_count; i++)
        mia__kernel_add(k, "    let x%u = x%u_get(x%u_at(i));\n", i, i, i);
    for (uint32_t n = 0; n < count; n++) {
        mia__kernel_add(k, "    let v%u = round%u(%s(", n, n, callees[n]);
        for (uint32_t i = 0; i < instructions[n].operand_count; i++) {
            if (i > 0) mia__kernel_put(k, ", ");
            put_operand(k, instructions[n].operands[i]);
        }
        mia__kernel_put(k, "));\n");
    }
    mia__kernel_add(k, "    return v%u;\n}\n", count - 1);
    return mia__kernel_map(k);
}
