; deep.scm — recursion that is not in tail position, as deep as the heap allows: the evaluator's stack goes into the heap by segments.

(define (count n) (if (= n 0) 0 (+ 1 (count (- n 1)))))
(define (build n) (if (= n 0) '() (cons n (build (- n 1)))))
(define (sum list) (if (null? list) 0 (+ (car list) (sum (cdr list)))))
(define (double list) (if (null? list) '() (cons (* 2 (car list)) (double (cdr list)))))

(define depth (* 10000 scale))
(print "count: " (count depth))
(define list (build depth))
(print "build and sum: " (sum list) ", doubled " (sum (double list)))

; Up and down around each depth, so that segments come and go.
(define (wave n) (if (= n 0) 0 (+ (count (modulo n 700)) (- (wave (- n 1)) (- n 1) (- (modulo n 700) n)))))
(print "wave: " (wave (* 200 scale)))

; Garbage is made at each level on the way back.
(define (labels n)
  (if (= n 0)
      '()
      (let ((rest (labels (- n 1))))
        (cons (number->string n) (if (= 0 (modulo n 1000)) (cons 'mark rest) rest)))))
(print "labels: " (length (labels (* 5000 scale))))

; Operands that wait on the stack while deeper ones are evaluated.
(define (mixed n) (if (= n 0) '(0) (append (vector->list (vector n (- n))) (mixed (- n 1)) '())))
(print "mixed: " (apply + (mixed 300)) " " (length (mixed (* 100 scale))))

; Mutual recursion, and a continuation that is taken at the bottom and entered from outside.
(define again #f)
(define entered 0)
(define (even-depth n) (if (= n 0) (call/cc (lambda (k) (set! again k) 0)) (+ 1 (odd-depth (- n 1)))))
(define (odd-depth n) (if (= n 0) 1 (+ 1 (even-depth (- n 1)))))
(define (enter)
  (let ((result (even-depth (* 3000 scale))))
    (set! entered (+ entered 1))
    (gc)
    (if (< entered 4) (again (* 1000 entered)) result)))
(print "entered 4 times: " (enter))

; An error at the bottom unwinds all of it.
(define (fall n) (if (= n 0) (car 'nothing) (+ 1 (fall (- n 1)))))
(print "fallen: " (with-error-handler (lambda (sentence) sentence) (lambda () (fall depth))))
(print "much deeper: " (count (* 5 depth)))
