/*
 * touchstone_dump.h: writes named tensors to a file that `touchstone compare` reads. C99, C++ or CUDA; nothing but the standard library; copy it.
 *
 *     ts_dump *dump = ts_open("theirs.safetensors");
 *     int64_t shape[] = {tokens, heads, head_dim};
 *     ts_add(dump, "input_ids", "I64", shape, 1, ids);               // int64_t ids[tokens]
 *     ts_add(dump, "layers.0.attention.q", "F32", shape, 3, q);      // q in the host's memory, row-major: the last axis runs fastest
 *     ts_meta(dump, "dtype", "float32");
 *     if (ts_close(dump) != 0) { ... }                               // the file is there whole, or not at all
 *
 * Names: those of a trace (fixtures/TRACE.md), of transformers' modules, or of llama.cpp's graph; others need `--map`. A name that is
 * there already becomes NAME#1, NAME#2, ... Besides: "input_ids" (I64 or I32, [tokens]), "logits" (F32, [tokens, vocabulary]).
 *
 * The file is safetensors:
 *
 *     8 bytes     n, the length of the header, little-endian, unsigned
 *     n bytes     JSON: {"__metadata__": {"format": "touchstone-dump-1", ...}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
 *                 filled up with spaces so that the data begin at a multiple of 8
 *     the rest    the tensors' bytes, little-endian; begin and end count from here, and every byte belongs to one tensor
 *
 * Until ts_close, data go to PATH.data, which needs as much room on the disk as the file. Not for big-endian machines.
 */
#ifndef TOUCHSTONE_DUMP_H
#define TOUCHSTONE_DUMP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *path, *data_path;
    FILE *data;
    char *tensors, *metadata; /* JSON members, each with a comma before it */
    char **names;
    size_t count;
    uint64_t bytes;
    int failed;
} ts_dump;

/* Appends text to a string on the heap; text is made fit for JSON if `quote` is set. */
static inline void ts_append(ts_dump *dump, char **string, const char *text, int quote) {
    size_t old = *string ? strlen(*string) : 0;
    char *grown = (char *)realloc(*string, old + 6 * strlen(text) + 1);
    if (!grown) { dump->failed = 1; return; }
    *string = grown;
    grown += old;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (quote && (c == '"' || c == '\\')) grown += sprintf(grown, "\\%c", c);
        else if (quote && c < 32) grown += sprintf(grown, "\\u%04x", c);
        else *grown++ = (char)c;
    }
    *grown = 0;
}

static inline char *ts_copy(ts_dump *dump, const char *text, const char *suffix) {
    char *copy = NULL;
    ts_append(dump, &copy, text, 0);
    if (copy) ts_append(dump, &copy, suffix, 0);
    return copy;
}

/* Bytes of a value; 0: no such dtype. */
static inline size_t ts_bytes(const char *dtype) {
    static const struct { const char *name; size_t bytes; } known[] = {
        {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1}, {"U8", 1}, {"BOOL", 1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) if (strcmp(known[i].name, dtype) == 0) return known[i].bytes;
    return 0;
}

/* A text beside the tensors: "dtype", "model", ... */
static inline int ts_meta(ts_dump *dump, const char *key, const char *value) {
    if (!dump) return 1;
    const char *parts[] = {",\"", key, "\":\"", value, "\""};
    for (int i = 0; i < 5; i++) ts_append(dump, &dump->metadata, parts[i], i % 2);
    return dump->failed;
}

/* NULL: the file cannot be written. */
static inline ts_dump *ts_open(const char *path) {
    ts_dump *dump = (ts_dump *)calloc(1, sizeof *dump);
    if (!dump) return NULL;
    dump->path = ts_copy(dump, path, "");
    dump->data_path = ts_copy(dump, path, ".data");
    dump->data = dump->failed ? NULL : fopen(dump->data_path, "w+b");
    if (!dump->data) { free(dump->path); free(dump->data_path); free(dump); return NULL; }
    return dump;
}

/* Adds a tensor and writes its data, which may be forgotten afterwards. @return 0, or 1 on a failure, which ts_close returns too */
static inline int ts_add(ts_dump *dump, const char *name, const char *dtype, const int64_t *shape, int dims, const void *data) {
    if (!dump || dump->failed) return 1;
    uint64_t size = ts_bytes(dtype);
    char number[64], *unique = ts_copy(dump, name, "");
    if (size == 0 || !unique) { free(unique); return dump->failed = 1; }
    for (size_t i = 0, again = 1; i < dump->count; i++) {
        if (strcmp(dump->names[i], unique) != 0) continue;
        free(unique);
        snprintf(number, sizeof number, "#%zu", again++);
        unique = ts_copy(dump, name, number);
        i = (size_t)-1; /* from the beginning */
        if (!unique) return 1;
    }
    char **names = (char **)realloc(dump->names, (dump->count + 1) * sizeof *names);
    if (!names) { free(unique); return dump->failed = 1; }
    dump->names = names;
    dump->names[dump->count++] = unique;
    const char *parts[] = {",\"", unique, "\":{\"dtype\":\"", dtype, "\",\"shape\":["};
    for (int i = 0; i < 5; i++) ts_append(dump, &dump->tensors, parts[i], i % 2);
    for (int i = 0; i < dims; i++) {
        snprintf(number, sizeof number, "%s%lld", i ? "," : "", (long long)shape[i]);
        ts_append(dump, &dump->tensors, number, 0);
        size *= (uint64_t)shape[i];
    }
    snprintf(number, sizeof number, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)dump->bytes, (unsigned long long)(dump->bytes + size));
    ts_append(dump, &dump->tensors, number, 0);
    dump->bytes += size;
    if (size && fwrite(data, 1, size, dump->data) != size) dump->failed = 1;
    return dump->failed;
}

/* Writes the header and the data behind it, and frees the dump. @return 0, or 1 if anything failed: then there is no file */
static inline int ts_close(ts_dump *dump) {
    if (!dump) return 1;
    char *header = ts_copy(dump, "{\"__metadata__\":{\"format\":\"touchstone-dump-1\"", dump->metadata ? dump->metadata : ""), *part = ts_copy(dump, dump->path, ".part");
    ts_append(dump, &header, "}", 0);
    if (dump->tensors) ts_append(dump, &header, dump->tensors, 0);
    ts_append(dump, &header, "}", 0);
    while (header && strlen(header) % 8) ts_append(dump, &header, " ", 0);
    uint64_t length = header ? strlen(header) : 0;
    FILE *file = dump->failed ? NULL : fopen(part, "wb");
    int failed = !file || fwrite(&length, 8, 1, file) != 1 || fwrite(header, 1, length, file) != length;
    char buffer[1 << 16];
    rewind(dump->data);
    for (size_t got; !failed && (got = fread(buffer, 1, sizeof buffer, dump->data)) > 0;) failed = fwrite(buffer, 1, got, file) != got;
    failed |= ferror(dump->data);
    if (file) failed |= fclose(file);
    if (!failed) failed = rename(part, dump->path) != 0;
    if (failed && file) remove(part);
    fclose(dump->data);
    remove(dump->data_path);
    for (size_t i = 0; i < dump->count; i++) free(dump->names[i]);
    free(dump->names); free(dump->tensors); free(dump->metadata); free(header); free(part); free(dump->path); free(dump->data_path); free(dump);
    return failed;
}

#endif
