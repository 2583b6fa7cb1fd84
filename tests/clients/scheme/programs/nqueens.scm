; nqueens.scm — ways to place n queens on a board of n by n: all of them, as lists.

; Is a queen in this column safe, seen from the rows before? `columns` are those of these rows, the last first.
(define (safe? column columns)
  (let next ((columns columns) (distance 1))
    (or (null? columns)
        (and (not (= (car columns) column))
             (not (= (abs (- (car columns) column)) distance))
             (next (cdr columns) (+ distance 1))))))

(define (queens n)
  (define (row k)
    (if (= k 0)
        '(())
        (extend (row (- k 1)) '())))
  (define (extend boards result)
    (if (null? boards)
        result
        (extend (cdr boards) (place (car boards) 0 result))))
  (define (place board column result)
    (cond ((= column n) result)
          ((safe? column board) (place board (+ column 1) (cons (cons column board) result)))
          (else (place board (+ column 1) result))))
  (row n))

; A depth-first search with an escape for the first solution.
(define (first-solution n)
  (call/cc
    (lambda (found)
      (let try ((board '()) (k n))
        (if (= k 0)
            (found (reverse board))
            (do ((column 0 (+ column 1)))
                ((= column n) #f)
              (when (safe? column board) (try (cons column board) (- k 1)))))))))

(define (report n)
  (let ((boards (queens n)))
    (print n " queens: " (length boards) " ways, first " (first-solution n))
    (for-each (lambda (board) (assert (= (length board) n) "a board is damaged")) boards)))

(report 4)
(report 6)
(when (> scale 2) (report 8))
(when (> scale 9) (report 10))
