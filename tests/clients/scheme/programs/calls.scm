; calls.scm — the classic call benchmarks: Takeuchi's function (in McCarthy's form), Fibonacci's, Ackermann's.

(define (tak x y z)
  (if (not (< y x))
      z
      (tak (tak (- x 1) y z) (tak (- y 1) z x) (tak (- z 1) x y))))

(define (fib n)
  (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))

(define (ack m n)
  (cond ((= m 0) (+ n 1))
        ((= n 0) (ack (- m 1) 1))
        (else (ack (- m 1) (ack m (- n 1))))))

; The same with boxed numbers: each step makes garbage.
(define (fib-real n)
  (if (< n 2.0) n (+ (fib-real (- n 1.0)) (fib-real (- n 2.0)))))

(print "tak " (if (> scale 4) (tak 18 12 6) (tak 9 6 3)))
(print "fib " (fib (+ 17 scale)))
(print "fib-real " (fib-real (+ 14.0 scale)))
(print "ack " (ack 2 (* 18 scale)))
