/* backend/webgpu/abi.h against a real webgpu.h: every struct's size and members' places, every value. The table is
 * compiled twice (support/abi_table.c with each header); skipped where no webgpu.h is installed. */
#include "support/abi_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_same(void **state) {
    (void)state;
    size_t count = 0, others = 0;
    const abi_row *ours = abi_table_ours(&count), *theirs = abi_table_standard(&others);
    assert_true(count > 150);
    assert_int_equal(count, others);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ours[i].name, theirs[i].name);
        if (ours[i].value != theirs[i].value)
            fail_msg("%s is %llu here, and %llu in webgpu.h", ours[i].name, (unsigned long long)ours[i].value,
                     (unsigned long long)theirs[i].value);
    }
}

int main(void) {
    size_t count = 0;
    if (abi_table_standard(&count) == NULL) {
        printf("skipped: no webgpu.h is installed (CPATH can name a folder that has webgpu/webgpu.h)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same)};
    return cmocka_run_group_tests_name("gpu abi", tests, NULL, NULL);
}
