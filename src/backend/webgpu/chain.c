/* Chains of element-wise instructions in shaders (chain.h). */
#include "backend/webgpu/chain.h"

#include "backend/webgpu/expression.h"

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

/* The function of an instruction, whose name is <prefix>do<n>: it calls the operation's and rounds. */
static bool declare(mia__kernel *k, const mia__chain *chain, uint32_t n) {
    const mia__instruction *instruction = &chain->instructions[n];
    mia_dtype of = operand_dtype(chain, instruction->operands[0]);
    char callee[NAME], round[NAME];
    bool made = instruction->custom == NULL;
    if (made && instruction->op == MIA_OP_convert)
        made = mia__expression_convert(k, of, instruction->dtype, callee, sizeof callee);
    else if (made)
        made = mia__expression(k, instruction->op, instruction->op == MIA_OP_where ? instruction->dtype : of,
                               &instruction->attributes, n, callee, sizeof callee);
    if (!made) return mia__kernel_refuse(k, "an operation has no WGSL");
    (void)snprintf(round, sizeof round, "%sround%u", chain->prefix, n);
    mia__kernel_round(k, round, instruction->dtype);
    mia__kernel_add(k, "fn %sdo%u(", chain->prefix, n);
    for (uint32_t i = 0; i < instruction->operand_count; i++)
        mia__kernel_add(k, "%sa%u: %s", i > 0 ? ", " : "", i,
                        mia__kernel_type(operand_dtype(chain, instruction->operands[i])));
    mia__kernel_add(k, ") -> %s { return %s(%s(", mia__kernel_type(instruction->dtype), round, callee);
    for (uint32_t i = 0; i < instruction->operand_count; i++)
        mia__kernel_add(k, "%sa%u", i > 0 ? ", " : "", i);
    mia__kernel_put(k, ")); }\n");
    return true;
}

bool mia__chain_declare(mia__kernel *k, const mia__chain *chain) {
    for (uint32_t i = 0; i < chain->step->input_count; i++) {
        char name[NAME];
        (void)snprintf(name, sizeof name, "%sx%u", chain->prefix, i);
        if (is_read(chain, i) && !mia__kernel_input(k, name, &chain->step->inputs[i])) return false;
    }
    for (uint32_t n = chain->first; n < chain->end; n++)
        if (!declare(k, chain, n)) return false;
    return true;
}

void mia__chain_body(mia__kernel *k, const mia__chain *chain) {
    const char *prefix = chain->prefix;
    for (uint32_t i = 0; i < chain->step->input_count; i++)
        if (is_read(chain, i))
            mia__kernel_add(k, "    let %sx%u = %sx%u_get(%sx%u_at(i));\n", prefix, i, prefix, i, prefix, i);
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
