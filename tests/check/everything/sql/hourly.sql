SELECT symbol, window_start, sum(price) AS price
FROM tumble(ticks, at, interval '1 hour')
GROUP BY symbol, window_start
