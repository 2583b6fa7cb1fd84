; identity.scm — tables keyed by identity: many objects that are moved again and again and must be found in between.

(define size (* 5000 scale))

; Keys are of three kinds; each key's content says which it is.
(define (make-key i)
  (case (modulo i 3)
    ((0) (list i))
    ((1) (vector i))
    (else (number->string i))))
(define keys (make-vector size))
(define table (make-hash-table))
(do ((i 0 (+ i 1)))
    ((= i size))
  (let ((key (make-key i)))
    (vector-set! keys i key)
    (hash-table-set! table key i)))
(define hashes (vector-map identity-hash keys))

(define (check what)
  (let next ((i 0) (found 0) (same 0))
    (if (= i size)
        (print what ": " found " found, " same " hashes the same, " (hash-table-count table) " in the table")
        (let ((key (vector-ref keys i)))
          (next (+ i 1)
                (if (eqv? (hash-table-ref table key #f) i) (+ found 1) found)
                (if (= (vector-ref hashes i) (identity-hash key)) (+ same 1) same))))))

; Garbage, so that the young generation is collected many times.
(define (churn n) (let next ((i 0) (junk '())) (if (= i n) (length junk) (next (+ i 1) (if (= 0 (modulo i 100)) '() (cons i junk))))))

(check "new")
(churn (* 20 size))
(check "after garbage")
(gc)
(check "after a collection of everything")
(gc 2)
(check "after moving together")

; Equal keys that are other objects are not found.
(define (strangers)
  (let next ((i 0) (found 0)) (if (= i size) found (next (+ i 1) (if (hash-table-ref table (make-key i) #f) (+ found 1) found)))))
(print "strangers: " (strangers))

; Half of the keys leave the table, and are changed; new ones come, in between collections.
(do ((i 0 (+ i 2)))
    ((>= i size))
  (hash-table-delete! table (vector-ref keys i)))
(gc 0)
(do ((i 0 (+ i 2)))
    ((>= i size))
  (vector-set! keys i (vector 'again i))
  (hash-table-set! table (vector-ref keys i) i)
  (vector-set! hashes i (identity-hash (vector-ref keys i))))
(check "half of them renewed")
(churn (* 10 size))
(gc)
(check "and collected")
(print "sum of contents: " (= (fold + 0 (hash-table-values table)) (quotient (* size (- size 1)) 2)))

; Numbers and characters are keys by their value.
(define small (make-hash-table))
(do ((i 0 (+ i 1))) ((= i 1000)) (hash-table-set! small (* i i) i))
(hash-table-set! small #\a 'letter)
(gc)
(print "numbers: " (hash-table-ref small 998001) " " (hash-table-ref small #\a) " " (hash-table-count small))
