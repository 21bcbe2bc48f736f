//! Claims of locks and rates.

use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::reply::{int, list};
use super::scripts::Script;
use crate::limits::rate::Rate;
use crate::store::{Claim, ClaimKind, LimitDecision, MAX_BATCH, Owner, StoreError};

impl RedisStore {
    pub(super) async fn claims(
        &self,
        owner: &Owner,
        claims: &[Claim],
    ) -> Result<Vec<LimitDecision>, StoreError> {
        let mut answers = Vec::with_capacity(claims.len());
        let mut rest = claims;
        // Runs even without claims: a lost owner must learn of its loss.
        loop {
            let (batch, after) = rest.split_at(rest.len().min(MAX_BATCH));
            let mut keys = vec![self.keys.reserved(owner)];
            let rates = batch.iter().filter(|claim| matches!(claim.kind, ClaimKind::Rate { .. }));
            keys.extend(rates.map(|claim| self.keys.rate(&claim.key)));
            let mut call = self.call(Script::Claim, "claiming locks and rates", &keys).await?;
            call.arg(owner.as_str());
            for Claim { id, key, kind } in batch {
                match *kind {
                    ClaimKind::Lock { limit } => call.arg("lock").arg(id.0).arg(key).arg(limit).arg(""),
                    ClaimKind::Rate { count, burst, per } => {
                        let rate = Rate::of(count, burst, per);
                        call.arg("rate").arg(id.0).arg(key).arg(rate.spacing).arg(rate.slack)
                    }
                };
            }
            answers.extend(call.read(|reply| claimed(reply, batch.len())).await?);
            if after.is_empty() {
                return Ok(answers);
            }
            rest = after;
        }
    }
}

fn claimed(reply: Value, asked: usize) -> Option<Vec<LimitDecision>> {
    // A negative number means granted.
    let one = |value| Some(u64::try_from(int(value)?).map_or(LimitDecision::Granted, wait));
    let answers: Vec<_> = list(reply)?.into_iter().map(one).collect::<Option<_>>()?;
    (answers.len() == asked).then_some(answers)
}

fn wait(micros: u64) -> LimitDecision {
    LimitDecision::Wait(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_has_its_decision() {
        let reply = || Value::Array(vec![Value::Int(-1), Value::Int(0), Value::Int(1500)]);
        let expected =
            vec![LimitDecision::Granted, wait(0), LimitDecision::Wait(Duration::from_micros(1500))];
        assert_eq!(claimed(reply(), 3), Some(expected));
        assert_eq!(claimed(reply(), 2), None);
        assert_eq!(claimed(Value::Nil, 0), None);
    }
}
