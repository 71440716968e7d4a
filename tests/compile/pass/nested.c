// Macros nested 40 deep neither blow up the preprocessor nor shadow each other's variables.
#include <mia/mia.h>

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 y);

mia_tensor_f32 compute(mia_tensor_f32 x, mia_tensor_f32 y) {
    return mia_neg(
        mia_add(mia_neg(mia_add(
                    mia_neg(mia_add(
                        mia_neg(mia_add(
                            mia_neg(mia_add(
                                mia_neg(mia_add(
                                    mia_neg(mia_add(
                                        mia_neg(mia_add(
                                            mia_neg(mia_add(
                                                mia_neg(mia_add(
                                                    mia_neg(mia_add(
                                                        mia_neg(mia_add(
                                                            mia_neg(mia_add(
                                                                mia_neg(mia_add(
                                                                    mia_neg(mia_add(
                                                                        mia_neg(mia_add(
                                                                            mia_neg(mia_add(
                                                                                mia_neg(mia_add(
                                                                                    mia_neg(mia_add(
                                                                                        mia_neg(mia_add(
                                                                                            x, mia_ref(y))),
                                                                                        mia_ref(y))),
                                                                                    mia_ref(y))),
                                                                                mia_ref(y))),
                                                                            mia_ref(y))),
                                                                        mia_ref(y))),
                                                                    mia_ref(y))),
                                                                mia_ref(y))),
                                                            mia_ref(y))),
                                                        mia_ref(y))),
                                                    mia_ref(y))),
                                                mia_ref(y))),
                                            mia_ref(y))),
                                        mia_ref(y))),
                                    mia_ref(y))),
                                mia_ref(y))),
                            mia_ref(y))),
                        mia_ref(y))),
                    mia_ref(y))),
                mia_ref(y)));
}
