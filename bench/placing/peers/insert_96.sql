\set account random(1, 64)
\set price random(300, 604)
\set volume random(1, 9999)
INSERT INTO bids (account_id, delivery_day, slot, side, price, volume)
SELECT :account, current_date + 1, n, 'S', :price + n, :volume FROM generate_series(1, 96) AS n;
