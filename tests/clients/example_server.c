/* example_server.c — the example of libmorphmem(3), a collected heap: a thousand trees in 64 MiB, of which one is alive at a time. */
#include <morphmem/morphmem.h>
#include <stdio.h>

struct node { struct node *left, *right; long value; };
static morph_type node_type;

/* A frame is a struct of references in the thread's root stack: the daemon sees and updates it in place. */
static struct node *build(morph_thread *me, int depth)
{
    struct { struct node *left, *right; } *frame;
    if (depth == 0)
        return morph_new(me, node_type);
    if (!(frame = morph_frame_push(me, sizeof *frame)))
        return NULL;
    frame->left = build(me, depth - 1);
    frame->right = build(me, depth - 1);
    struct node *node = morph_new(me, node_type);       /* may collect; frame->left and frame->right stay right */
    if (node) {
        node->left = frame->left;                       /* into the latest object: needs no barrier */
        node->right = frame->right;
        node->value = depth;
    }
    morph_frame_pop(me, frame);
    return node;
}

static long count(const struct node *node)              /* allocates nothing: nothing moves meanwhile */
{
    return node ? 1 + count(node->left) + count(node->right) : 0;
}

int main(void)
{
    morph_options options = { .mode = MORPH_SERVER, .name = "trees", .limit_bytes = 64 << 20 };
    morph_type_spec spec = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) };
    morph_heap *heap;
    morph_thread *me;
    struct { struct node *tree; } *root;
    long nodes = 0;

    int err = morph_heap_open(&heap, &options);
    if (err < 0 || (err = morph_thread_attach(heap, &me)) < 0 || (err = morph_type_register(heap, &spec, &node_type)) < 0) {
        fprintf(stderr, "trees: %s\n", morph_strerror(err));
        return 1;
    }
    root = morph_frame_push(me, sizeof *root);
    for (int i = 0; i < 1000; i++) {
        if (!(root->tree = build(me, 12))) {
            fprintf(stderr, "trees: %s\n", morph_strerror(morph_thread_error(me)));
            return 1;
        }
        morph_store(me, root->tree, &root->tree->left, NULL);   /* any later store of a reference into an object */
        nodes += count(root->tree);
    }
    morph_frame_pop(me, root);
    printf("%ld nodes\n", nodes);
    morph_thread_detach(me);
    return morph_heap_close(heap) < 0;
}
