; trees.scm — binary trees that are built and dropped, beside one that lives long (after Hans Boehm's GCBench and the binary-trees game).

(define (build depth)
  (if (= depth 0)
      (vector #f #f 1)
      (let* ((left (build (- depth 1))) (right (build (- depth 1))))
        (vector left right 1))))

; Top down: fresh children are stored into older nodes.
(define (populate! tree depth)
  (when (> depth 0)
    (vector-set! tree 0 (vector #f #f 1))
    (vector-set! tree 1 (vector #f #f 1))
    (populate! (vector-ref tree 0) (- depth 1))
    (populate! (vector-ref tree 1) (- depth 1))))

(define (count tree)
  (if (vector-ref tree 0)
      (+ (vector-ref tree 2) (count (vector-ref tree 0)) (count (vector-ref tree 1)))
      (vector-ref tree 2)))

(define (turn! tree)
  (when (vector-ref tree 0)
    (let ((left (vector-ref tree 0)))
      (vector-set! tree 0 (vector-ref tree 1))
      (vector-set! tree 1 left)
      (turn! (vector-ref tree 0))
      (turn! (vector-ref tree 1)))))

(define deepest (if (> scale 4) 13 8))
(define lasting (build deepest))

(do ((depth 2 (+ depth 3)))
    ((> depth deepest))
  (let ((rounds (quotient (* scale 2400) (vector-ref (vector 0 0 4 0 0 30 0 0 200 0 0 1600) depth))))
    (let loop ((i 0) (nodes 0))
      (if (< i rounds)
          (let ((top (vector #f #f 1)))
            (populate! top depth)
            (loop (+ i 1) (+ nodes (count (build depth)) (count top))))
          (print "depth " depth ": " rounds " pairs of trees, " nodes " nodes")))))

(turn! lasting)
(print "the one that lasts: " (count lasting) " nodes")
