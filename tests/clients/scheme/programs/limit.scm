; limit.scm — at the heap's limit a program hears of it, drops something, and goes on. Run with a limit of 16 MiB or so.

(define (fill)
  (let next ((list '()) (n 0)) (next (cons (make-vector 100 n) list) (+ n 1))))
(define (try thunk) (with-error-handler (lambda (sentence) (print sentence) 'full) thunk))

(do ((round 0 (+ round 1)))
    ((= round 3))
  (print (try fill))
  (print "goes on: " (length (let next ((i 0) (list '())) (if (= i 10000) list (next (+ i 1) (cons i list)))))))

; Deep recursion ends in the same way.
(define (count n) (+ 1 (count (+ n 1))))
(print (try (lambda () (count 0))))
; So does one object that is larger than the heap.
(print (try (lambda () (make-vector 100000000 0))))
(print "done: " (vector-length (make-vector 10000 'x)))
