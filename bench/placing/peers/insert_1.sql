\set account random(1, 64)
\set slot random(1, 96)
\set price random(300, 700)
\set volume random(1, 9999)
INSERT INTO bids (account_id, delivery_day, slot, side, price, volume)
VALUES (:account, current_date + 1, :slot, 'S', :price, :volume);
