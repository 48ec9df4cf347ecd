/* An external TFLite delegate for tests: takes dense layers (FULLY_CONNECTED, float32, no bias) and misbehaves as told.
 *
 * Options: mode = right | wrong | nan | refuse | fail_prepare | fail | hang | crash
 *          at   = number of the invocation, from 1, from which `fail`, `hang` and `crash` begin (default 1)
 *          broken = path; it misbehaves only as long as this file exists
 *
 * Only the leading fields of the runtime's structs are declared: those are the same in tflite-runtime 2.14 and LiteRT 2.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1, FULLY_CONNECTED = 9, BUILTIN_DELEGATE = 51 };

typedef struct { int size; int data[]; } Ints;

typedef struct {
  int type;
  void *data;
  Ints *dims;
  float scale;
  int zero_point;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  bool is_stale, is_variable;
  int quantization_type;
  void *quantization;
  void *sparsity;
  const Ints *signature;
} Tensor;

typedef struct { Ints *inputs, *outputs; } Node;

struct Context;

typedef struct {
  void *(*init)(struct Context *, const char *, size_t);
  void (*release)(struct Context *, void *);
  int (*prepare)(struct Context *, Node *);
  int (*invoke)(struct Context *, Node *);
  const char *(*profile)(const struct Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *rest[4]; /* what newer runtimes have after it */
} Registration;

typedef struct Delegate {
  void *data;
  int (*prepare)(struct Context *, struct Delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *builder;
} Delegate;

typedef struct Context {
  size_t tensors_size;
  int (*get_plan)(struct Context *, Ints **);
  Tensor *tensors;
  void *impl;
  void *resize;
  void (*report)(struct Context *, const char *, ...);
  void *add_tensors;
  int (*get_node)(struct Context *, int, Node **, Registration **);
  int (*replace)(struct Context *, Registration, const Ints *, Delegate *);
} Context;

static char mode[32], flag[4096];
static long begins_at, invocations;

static bool misbehaves(const char *how) {
  return strcmp(mode, how) == 0 && (flag[0] == 0 || access(flag, F_OK) == 0);
}

/* One partition may hold several dense layers in a row: all of them, in order. */
typedef struct { int count; Node nodes[64]; } Part;

typedef struct { Delegate *delegate; Ints *nodes, *inputs, *outputs; } Params;

static void *init(Context *context, const char *buffer, size_t length) {
  const Params *params = (const Params *)buffer;
  Part *part = calloc(1, sizeof *part);
  (void)length;
  for (int i = 0; i < params->nodes->size && i < 64; i++) {
    Node *node;
    Registration *registration;
    if (context->get_node(context, params->nodes->data[i], &node, &registration) != OK) continue;
    part->nodes[part->count++] = *node;
  }
  return part;
}

static void release(Context *context, void *part) {
  (void)context;
  free(part);
}

static int prepare_part(Context *context, Node *node) {
  (void)node;
  if (!misbehaves("fail_prepare")) return OK;
  context->report(context, "the test's delegate fails at prepare");
  return ERROR;
}

static void dense(Context *context, const Node *node) {
  const Tensor *x = &context->tensors[node->inputs->data[0]];
  const Tensor *w = &context->tensors[node->inputs->data[1]];
  Tensor *y = &context->tensors[node->outputs->data[0]];
  int units = w->dims->data[0], width = w->dims->data[1];
  for (int unit = 0; unit < units; unit++) {
    float sum = 0;
    for (int i = 0; i < width; i++) sum += ((float *)x->data)[i] * ((float *)w->data)[unit * width + i];
    if (misbehaves("wrong")) sum = 0;
    if (misbehaves("nan") && invocations >= begins_at) sum = 0.0f / 0.0f;
    ((float *)y->data)[unit] = sum;
  }
}

/* user_data follows inputs, outputs, intermediates and temporaries. */
typedef struct { Ints *inputs, *outputs, *intermediates, *temporaries; void *user_data; } FullNode;

static int invoke(Context *context, Node *node) {
  const Part *part = ((FullNode *)node)->user_data;
  invocations++;
  if (invocations >= begins_at) {
    if (misbehaves("fail")) {
      context->report(context, "the test's delegate fails at invocation %d", (int)invocations);
      return ERROR;
    }
    if (misbehaves("crash")) abort();
    while (misbehaves("hang")) pause();
  }
  for (int i = 0; i < part->count; i++) dense(context, &part->nodes[i]);
  return OK;
}

static int prepare(Context *context, Delegate *delegate) {
  Ints *plan, *copy, *mine;
  if (context->get_plan(context, &plan) != OK) return ERROR;
  copy = malloc(sizeof *copy + plan->size * sizeof(int));
  mine = malloc(sizeof *mine + plan->size * sizeof(int));
  memcpy(copy, plan, sizeof *copy + plan->size * sizeof(int)); /* get_node makes the plan's memory stale */
  mine->size = 0;
  for (int i = 0; i < copy->size; i++) {
    Node *node;
    Registration *registration;
    if (context->get_node(context, copy->data[i], &node, &registration) != OK) return ERROR;
    if (registration->builtin_code == FULLY_CONNECTED) mine->data[mine->size++] = copy->data[i];
  }
  Registration kernel = {init, release, prepare_part, invoke, NULL, BUILTIN_DELEGATE, "TestDelegate", 1, {0}};
  int status = context->replace(context, kernel, mine, delegate);
  free(copy);
  free(mine);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  begins_at = 1;
  invocations = 0;
  strcpy(mode, "right");
  flag[0] = 0;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "mode") == 0) strncpy(mode, values[i], sizeof mode - 1);
    else if (strcmp(keys[i], "at") == 0) begins_at = atol(values[i]);
    else if (strcmp(keys[i], "broken") == 0) strncpy(flag, values[i], sizeof flag - 1);
    else {
      report("the test's delegate knows the options mode, at and while");
      return NULL;
    }
  }
  if (misbehaves("refuse")) {
    report("the test's delegate finds no device");
    return NULL;
  }
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->prepare = prepare;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
