-- The bank accounts of these people that other people with live money have on file too, and everybody who has them, in
-- the order in which they came with it. OFFSET 0 asks for a live wallet person by person.
SELECT encode(b.number_hash, 'hex'), array_agg(b.owner_id ORDER BY b.id), array_agg(b.id ORDER BY b.id),
       min(b.number_last_four)
  FROM wallets_bankaccount b
 WHERE b.number_hash IN (SELECT own.number_hash FROM wallets_bankaccount own WHERE own.owner_id = ANY (%(people)s))
   AND EXISTS (SELECT FROM wallets_wallet w
                WHERE w.owner_id = b.owner_id AND w.environment = 'LIVE' AND w.kind IN ('CASH', 'MARGIN') OFFSET 0)
 GROUP BY b.number_hash
HAVING count(*) > 1
 ORDER BY b.number_hash
