/* What a port would do with cli/dumpers/touchstone_dump.h; the test reads the file. */
#include "touchstone_dump.h"

int main(int count, char **arguments) {
    if (count != 2) return 2;
    ts_dump *dump = ts_open(arguments[1]);
    if (!dump) return 3;
    int64_t two_by_three[] = {2, 3}, three[] = {3}, none[] = {0, 4};
    float logits[] = {0.0f, 0.25f, 0.5f, 0.75f, 1.0f, 1.25f};
    int64_t ids[] = {5, 7, 11};
    uint16_t bfloat16[] = {0x3f80, 0xc020, 0x0000};
    double one = 0.1;
    ts_add(dump, "logits", "F32", two_by_three, 2, logits);
    ts_add(dump, "odd \"name\" \\ \n", "BF16", three, 1, bfloat16);
    ts_add(dump, "input_ids", "I64", three, 1, ids);
    for (int i = 0; i < 3; i++) ts_add(dump, "Qcur-0", "F32", three, 1, logits + i);
    ts_add(dump, "scalar", "F64", NULL, 0, &one);
    ts_add(dump, "empty", "F32", none, 2, logits);
    ts_meta(dump, "dtype", "float32");
    return ts_close(dump);
}
