-- A key no longer keeps the response that answered it, which for 96 bids is 18 kB, but says which row of the event log
-- did: the same response is made of that again. Responses that were kept before stay until their keys are forgotten.
ALTER TABLE idempotency_keys
      ALTER COLUMN response DROP NOT NULL,
      ADD COLUMN delivery_day date,
      ADD COLUMN first_seq bigint,
      ADD CONSTRAINT idempotency_keys_have_one_answer CHECK (
          (response IS NULL) <> (first_seq IS NULL) AND (delivery_day IS NULL) = (first_seq IS NULL)
      );
