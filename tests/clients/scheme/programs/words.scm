; words.scm — counts words of a generated text: strings, string ports, a table keyed by strings, symbols, sorting.

(define syllables (vector "ka" "lo" "mi" "ne" "ru" "sa" "ti" "vo"))
(define seed 42)
(define (random limit)
  (set! seed (modulo (+ (* seed 48271) 11) 2147483647))
  (modulo (quotient seed 16) limit))

; The product of two draws makes some words frequent and most rare.
(define (word)
  (let ((n (+ 1 (quotient (* (random 3) (random 3)) 2))))
    (let next ((i 0) (text ""))
      (if (= i n)
          text
          (next (+ i 1) (string-append text (vector-ref syllables (quotient (* (random 8) (random 8)) 8))))))))

(define (make-text words)
  (let ((port (open-output-string)))
    (do ((i 0 (+ i 1)))
        ((= i words) (get-output-string port))
      (write-string (word) port)
      (write-char (if (= (modulo i 12) 11) #\newline #\space) port))))

; Calls `use` with each word between blanks.
(define (for-each-word use text)
  (define (blank-from start)
    (let ((space (string-index text #\space start)) (line (string-index text #\newline start)))
      (if (and space line) (min space line) (or space line))))
  (let next ((start 0))
    (let ((end (blank-from start)))
      (when end
        (when (< start end) (use (substring text start end)))
        (next (+ end 1))))))

(define (count-words text)
  (let ((counts (make-string-hash-table)))
    (for-each-word (lambda (word) (hash-table-update! counts word (lambda (n) (+ n 1)) 0)) text)
    counts))

(define text (make-text (* 3000 scale)))
(print "text: " (string-length text) " characters")
(define counts (count-words text))
(print "different words: " (hash-table-count counts))

(define ranking
  (sort (map (lambda (word) (cons (hash-table-ref counts word) word)) (hash-table-keys counts))
        (lambda (a b) (or (> (car a) (car b)) (and (= (car a) (car b)) (string<? (cdr a) (cdr b)))))))
(for-each (lambda (i) (let ((entry (list-ref ranking i))) (print "  " (string-upcase (cdr entry)) " " (car entry)))) (iota 5))
(print "all: " (fold + 0 (hash-table-values counts)))

; The same by symbols: as many as there are words, and each the same object.
(define by-symbol (make-hash-table))
(for-each-word (lambda (word) (hash-table-update! by-symbol (string->symbol word) (lambda (n) (+ n 1)) 0)) text)
(define (same? word) (= (hash-table-ref counts word) (hash-table-ref by-symbol (string->symbol word))))
(define others (filter (lambda (word) (not (same? word))) (hash-table-keys counts)))
(print "by symbol: " (hash-table-count by-symbol) ", the same: " (null? others))

; Rare words are deleted; a long string is made of what is left.
(for-each (lambda (word) (when (< (hash-table-ref counts word) 20) (hash-table-delete! counts word))) (hash-table-keys counts))
(define kept (sort (hash-table-keys counts) string<?))
(define joined (fold (lambda (word text) (string-append text word "|")) "" kept))
(print "frequent: " (hash-table-count counts) ", joined " (string-length joined) ", all there: "
       (= (string-length joined) (fold (lambda (word n) (+ n 1 (string-length word))) 0 kept)))
(print (list->string (reverse (string->list (substring text 0 24)))))
