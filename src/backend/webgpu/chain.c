/* Chains of element-wise instructions in shaders (chain.h). */
#include "backend/webgpu/chain.h"

#include "backend/webgpu/expression.h"
#include "backend/webgpu/math.h"

#include <stdio.h>

#define NAME 64

static bool is_read(const mia__chain *chain, uint32_t input) {
    for (uint32_t n = chain->first; n < chain->end; n++)
        for (uint32_t i = 0; i < chain->instructions[n].operand_count; i++)
            if (chain->instructions[n].operands[i] == input) return true;
    return false;
}

static mia_dtype operand_dtype(const mia__chain *chain, uint8_t operand) {
    return operand >= MIA__MAX_OPERANDS ? chain->instructions[operand - MIA__MAX_OPERANDS].dtype
                                        : chain->step->inputs[operand].dtype;
}

/* The function of an instruction, whose name is <prefix>do<n>: it calls the operation's and rounds. What f32 is rounded to
 * is kept, so that no product becomes one with a later sum and the numbers are those of single steps. */
static bool declare(mia__kernel *k, const mia__chain *chain, uint32_t n) {
    static const char arguments[] = "a0, a1, a2, a3, a4, a5";
    _Static_assert(MIA__MAX_OPERANDS <= 6, "as many are named");
    const mia__instruction *instruction = &chain->instructions[n];
    mia_dtype of = operand_dtype(chain, instruction->operands[0]);
    char name[NAME], operands[sizeof arguments], call[MIA__EXPRESSION_CALL], round[NAME];
    uint32_t count = instruction->operand_count;
    (void)snprintf(name, sizeof name, "%sn%u", chain->prefix, n);
    (void)snprintf(operands, sizeof operands, "%.*s", count > 0 ? (int)(count * 4 - 2) : 0, arguments);
    const mia__expression expression = {.op = instruction->op,
                                        .custom = instruction->custom,
                                        .dtype = instruction->op == MIA_OP_where ? instruction->dtype : of,
                                        .result = instruction->dtype,
                                        .attributes = &instruction->attributes,
                                        .name = name,
                                        .count = count,
                                        .operands = operands};
    if (!mia__expression_put(k, &expression, call, sizeof call))
        return mia__kernel_refuse(k, instruction->custom != NULL
                                         ? "an operation that the program registered says no WGSL of itself"
                                         : "an operation has no WGSL");
    if (instruction->dtype == MIA_f32 && n + 1 < chain->end) {
        (void)snprintf(round, sizeof round, "m_kept");
        mia__kernel_math(k, round);
    } else {
        (void)snprintf(round, sizeof round, "round_%s", mia_dtype_describe(instruction->dtype)->name);
        if (mia__kernel_lacks(k, round)) mia__kernel_round(k, round, instruction->dtype);
    }
    mia__kernel_add(k, "fn %sdo%u(", chain->prefix, n);
    for (uint32_t i = 0; i < count; i++)
        mia__kernel_add(k, "%sa%u: %s", i > 0 ? ", " : "", i,
                        mia__kernel_type(operand_dtype(chain, instruction->operands[i])));
    mia__kernel_add(k, ") -> %s { return %s(%s); }\n", mia__kernel_type(instruction->dtype), round, call);
    return true;
}

bool mia__chain_functions(mia__kernel *k, const mia__chain *chain) {
    for (uint32_t n = chain->first; n < chain->end; n++)
        if (!declare(k, chain, n)) return false;
    return true;
}

bool mia__chain_declare(mia__kernel *k, const mia__chain *chain) {
    for (uint32_t i = 0; i < chain->step->input_count; i++) {
        char name[NAME];
        (void)snprintf(name, sizeof name, "%sx%u", chain->prefix, i);
        if (is_read(chain, i) && !mia__kernel_input(k, name, &chain->step->inputs[i])) return false;
    }
    return mia__chain_functions(k, chain);
}

void mia__chain_body(mia__kernel *k, const mia__chain *chain) {
    const char *prefix = chain->prefix;
    for (uint32_t i = 0; i < chain->step->input_count; i++)
        if (is_read(chain, i))
            mia__kernel_add(k, "    let %sx%u = %sx%u_get(%sx%u_at(i));\n", prefix, i, prefix, i, prefix, i);
    mia__chain_lines(k, chain);
}

void mia__chain_lines(mia__kernel *k, const mia__chain *chain) {
    const char *prefix = chain->prefix;
    for (uint32_t n = chain->first; n < chain->end; n++) {
        const mia__instruction *instruction = &chain->instructions[n];
        mia__kernel_add(k, "    let %sv%u = %sdo%u(", prefix, n, prefix, n);
        for (uint32_t i = 0; i < instruction->operand_count; i++) {
            uint8_t operand = instruction->operands[i];
            bool result = operand >= MIA__MAX_OPERANDS;
            mia__kernel_add(k, "%s%s%c%u", i > 0 ? ", " : "", prefix, result ? 'v' : 'x',
                            (unsigned)(result ? operand - MIA__MAX_OPERANDS : operand));
        }
        mia__kernel_put(k, ");\n");
    }
}
