/* prelude.c — procedures of the language that are written in it, and how text is run. */
#include "tests/clients/scheme/scheme.h"

#include <string.h>

/* The error says where the form is that it happened in. */
static bool load_fail(struct scheme *s, const struct reader *reader)
{
    char error[sizeof s->error];
    memcpy(error, s->error, sizeof error);
    return scheme_fail(s, "%s:%u: %.400s", reader->file, reader->form_line, error);
}

bool scheme_load(struct scheme *s, const char *text, size_t length, const char *file)
{
    struct { value form, node; } *f = frame_push(s, sizeof *f);
    struct reader reader = { .at = text, .end = text + length, .file = file, .line = 1 };
    if (!f)
        return false;
    bool fine = true;
    while (fine && (f->form = read_form(s, &reader)) != END_OF_FILE) {
        if (!(fine = f->form != NULL))
            break;
        f->node = compile_form(s, f->form, NIL);
        f->form = NULL;
        fine = (f->node && eval_node(s, f->node)) || load_fail(s, &reader);
        f->node = NULL;
    }
    frame_pop(s, f);
    return fine;
}

/* Loops of procedures that call others are in tail position, so that a list's length costs no stack. */
const char prelude[] =
    "(define scale 10)"
    "(define (map f list . more)"
    "  (define (one list result)"
    "    (if (pair? list) (one (cdr list) (cons (f (car list)) result)) (reverse result)))"
    "  (define (many lists result)"
    "    (if (all-pairs? lists) (many (one-cdrs lists) (cons (apply f (one-cars lists)) result)) (reverse result)))"
    "  (define (all-pairs? lists) (or (null? lists) (and (pair? (car lists)) (all-pairs? (cdr lists)))))"
    "  (define (one-cars lists) (if (null? lists) '() (cons (caar lists) (one-cars (cdr lists)))))"
    "  (define (one-cdrs lists) (if (null? lists) '() (cons (cdar lists) (one-cdrs (cdr lists)))))"
    "  (if (null? more) (one list '()) (many (cons list more) '())))"
    "(define (for-each f list . more)"
    "  (if (null? more)"
    "      (let next ((list list)) (when (pair? list) (f (car list)) (next (cdr list))))"
    "      (let next ((list list) (other (car more)))"
    "        (when (and (pair? list) (pair? other)) (f (car list) (car other)) (next (cdr list) (cdr other))))))"
    "(define (filter keep? list)"
    "  (let next ((list list) (result '()))"
    "    (cond ((null? list) (reverse result))"
    "          ((keep? (car list)) (next (cdr list) (cons (car list) result)))"
    "          (else (next (cdr list) result)))))"
    "(define (fold f start list) (if (null? list) start (fold f (f (car list) start) (cdr list))))"
    "(define (iota count)"
    "  (let next ((i count) (result '())) (if (= i 0) result (next (- i 1) (cons (- i 1) result)))))"
    "(define (sort list less?)"
    "  (define (merge a b result)"
    "    (cond ((null? a) (unwind result b))"
    "          ((null? b) (unwind result a))"
    "          ((less? (car b) (car a)) (merge a (cdr b) (cons (car b) result)))"
    "          (else (merge (cdr a) b (cons (car a) result)))))"
    "  (define (unwind from to) (if (null? from) to (unwind (cdr from) (cons (car from) to))))"
    "  (define (pass runs result)"
    "    (cond ((null? runs) (reverse result))"
    "          ((null? (cdr runs)) (reverse (cons (car runs) result)))"
    "          (else (pass (cddr runs) (cons (merge (car runs) (cadr runs) '()) result)))))"
    "  (let again ((runs (map (lambda (x) (cons x '())) list)))"
    "    (cond ((null? runs) '()) ((null? (cdr runs)) (car runs)) (else (again (pass runs '()))))))"
    "(define (vector-map f vector)"
    "  (let ((result (make-vector (vector-length vector))))"
    "    (do ((i 0 (+ i 1))) ((= i (vector-length vector)) result)"
    "      (vector-set! result i (f (vector-ref vector i))))))"
    "(define (vector-for-each f vector)"
    "  (do ((i 0 (+ i 1))) ((= i (vector-length vector))) (f (vector-ref vector i))))"
    "(define (hash-table-update! table key change start)"
    "  (hash-table-set! table key (change (hash-table-ref table key start))))"
    "(define (force promise)"
    "  (if (promise-kept? promise)"
    "      (promise-result promise)"
    "      (promise-keep! promise ((promise-thunk promise)))))"
    "(define (stream-car stream) (car stream))"
    "(define (stream-cdr stream) (force (cdr stream)))"
    "(define (abs x) (if (negative? x) (- x) x))"
    "(define (print . items) (for-each display items) (newline))"
    "(define (assert true? message) (if true? true? (error message)))";
