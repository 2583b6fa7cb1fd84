; streams.scm — closures and promises: lazy streams, Eratosthenes' sieve as one, power series, Church's numerals.

(define (stream-ref stream n) (if (= n 0) (stream-car stream) (stream-ref (stream-cdr stream) (- n 1))))
(define (stream-map f stream) (cons-stream (f (stream-car stream)) (stream-map f (stream-cdr stream))))
(define (stream-add a b) (cons-stream (+ (stream-car a) (stream-car b)) (stream-add (stream-cdr a) (stream-cdr b))))
(define (stream-filter keep? stream)
  (if (keep? (stream-car stream))
      (cons-stream (stream-car stream) (stream-filter keep? (stream-cdr stream)))
      (stream-filter keep? (stream-cdr stream))))
(define (stream-take stream n) (if (= n 0) '() (cons (stream-car stream) (stream-take (stream-cdr stream) (- n 1)))))

(define (from n) (cons-stream n (from (+ n 1))))

; Each prime puts one more filter in front of what is left.
(define (sieve stream)
  (let ((prime (stream-car stream)))
    (cons-stream prime (sieve (stream-filter (lambda (n) (not (= 0 (remainder n prime)))) (stream-cdr stream))))))
(define primes (sieve (from 2)))
(print "primes: " (stream-take primes 10) ", number " (* 30 scale) ": " (stream-ref primes (- (* 30 scale) 1)))

; A stream that refers to itself: computed once only if its promises are kept.
(define fibs (cons-stream 0 (cons-stream 1 (stream-add fibs (stream-cdr fibs)))))
(print "fibs: " (stream-take fibs 12) ", number 80: " (stream-ref fibs 80))

; Hamming's numbers, by merging three streams of themselves.
(define (merge a b)
  (let ((x (stream-car a)) (y (stream-car b)))
    (cond ((< x y) (cons-stream x (merge (stream-cdr a) b)))
          ((> x y) (cons-stream y (merge a (stream-cdr b))))
          (else (cons-stream x (merge (stream-cdr a) (stream-cdr b)))))))
(define (scaled n stream) (stream-map (lambda (x) (* n x)) stream))
(define hamming (cons-stream 1 (merge (scaled 2 hamming) (merge (scaled 3 hamming) (scaled 5 hamming)))))
(print "hamming: " (stream-take hamming 12) ", number " (* 300 scale) ": " (stream-ref hamming (- (* 300 scale) 1)))

; e by its series, and pi by Leibniz' series made faster by Aitken's method.
(define (partial-sums stream) (cons-stream (stream-car stream) (stream-add (stream-cdr stream) (partial-sums stream))))
(define (factorials n f) (cons-stream (/ 1.0 f) (factorials (+ n 1) (* f n))))
(print "e: " (stream-ref (partial-sums (factorials 1 1.0)) 25))
(define (leibniz n) (cons-stream (/ 4.0 n) (stream-map - (leibniz (+ n 2)))))
(define (faster s)
  (let ((s0 (stream-ref s 0)) (s1 (stream-ref s 1)) (s2 (stream-ref s 2)))
    (let ((change (- s2 s1)))
      (cons-stream (- s2 (/ (* change change) (+ s0 (* -2 s1) s2))) (faster (stream-cdr s))))))
(print "pi: " (substring (number->string (stream-ref (faster (faster (faster (faster (partial-sums (leibniz 1)))))) 8)) 0 9))

; A promise that is forced while it is computed keeps its first result.
(define count 0)
(define promise (delay (begin (set! count (+ count 1)) (if (< count 3) (force promise) count))))
(print "reentered: " (force promise) " " (begin (set! count 10) (force promise)))

; Church's numerals: numbers are closures.
(define (church n)
  (if (= n 0)
      (lambda (f) (lambda (x) x))
      (let ((less (church (- n 1))))
        (lambda (f) (let ((g (less f))) (lambda (x) (f (g x))))))))
(define (number church) ((church (lambda (n) (+ n 1))) 0))
(define (times a b) (lambda (f) (a (b f))))
(define (power a b) (b a))
(print "church: " (number (power (church 3) (church (if (> scale 4) 9 5)))) " " (number (times (church 12) (church 12))))
