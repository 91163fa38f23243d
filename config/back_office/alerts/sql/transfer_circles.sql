-- Who moved live money to whom since a moment, as far as these people sent it.
SELECT DISTINCT t.owner_id, target.owner_id
  FROM wallets_transfer t
  JOIN wallets_wallet target ON target.id = t.target_id AND target.environment = 'LIVE'
 WHERE t.owner_id = ANY (%(people)s) AND t.id >= %(earliest)s AND t.created_at > %(since)s
   AND target.owner_id <> t.owner_id
 ORDER BY 1, 2
