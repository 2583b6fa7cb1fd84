; sort.scm — a list sorted in place: a merge sort that only changes cdrs, then the same list reversed in place, and taken apart.

(define seed 12345)
(define (random limit)
  (set! seed (modulo (* seed 48271) 2147483647))
  (modulo seed limit))

(define (merge! a b less?)
  (let ((head (cons #f '())))
    (let next ((last head) (a a) (b b))
      (cond ((null? a) (set-cdr! last b))
            ((null? b) (set-cdr! last a))
            ((less? (car b) (car a)) (set-cdr! last b) (next b a (cdr b)))
            (else (set-cdr! last a) (next a (cdr a) b))))
    (cdr head)))

; Sorts the first n pairs of the list; the rest goes on in `rest`.
(define (sort! list less?)
  (define rest list)
  (define (take! n)
    (if (= n 1)
        (let ((pair rest))
          (set! rest (cdr rest))
          (set-cdr! pair '())
          pair)
        (let* ((half (quotient n 2)) (a (take! half)) (b (take! (- n half))))
          (merge! a b less?))))
  (if (null? list) list (take! (length list))))

(define (reverse! list)
  (let next ((list list) (result '()))
    (if (null? list)
        result
        (let ((rest (cdr list)))
          (set-cdr! list result)
          (next rest list)))))

(define (ordered? list less?)
  (or (null? list) (null? (cdr list))
      (and (not (less? (cadr list) (car list))) (ordered? (cdr list) less?))))

(define (sum list) (fold + 0 list))

(define size (* 10000 scale))
(define numbers (let fill ((i 0) (list '())) (if (= i size) list (fill (+ i 1) (cons (random 1000000) list)))))
(define before (sum numbers))
(define sorted (sort! numbers <))
(print size " numbers, sorted: " (ordered? sorted <) ", same sum: " (= before (sum sorted)) ", least " (car sorted))

; Already sorted, the other way, then by the last digit first: stable, so that equal digits stay in order.
(define reversed (reverse! sorted))
(print "reversed: " (ordered? reversed >) ", greatest " (car reversed))
(define again (sort! (list-tail reversed (- size (* 2000 scale))) (lambda (a b) (< (modulo a 10) (modulo b 10)))))
(define (stable? list)
  (or (null? (cdr list))
      (and (or (< (modulo (car list) 10) (modulo (cadr list) 10)) (>= (car list) (cadr list))) (stable? (cdr list)))))
(print "by digit: " (stable? again) ", length " (length again))

; Boxed numbers and strings, with the sort of the prelude, which makes new lists.
(define reals (map (lambda (n) (/ n 1024.0)) (list-tail again scale)))
(print "reals: " (ordered? (sort reals <) <))
(define names (map number->string (list-tail again (* 1800 scale))))
(define sorted-names (sort names string<?))
(print "names: " (ordered? sorted-names string<?) ", from " (car sorted-names))
