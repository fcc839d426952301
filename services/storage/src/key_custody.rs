//! Data keys, wrapped and unwrapped by trust.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use openarchive_envelope::{BlobScope, Dek, WrappedKey};
use openarchive_proto::trust::v1::{
    UnwrapKeysRequest, WrapKeysRequest, trust_service_client::TrustServiceClient,
};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use tonic::Code;

use crate::StorageError;

/// Keys of one call to trust, at most.
pub(crate) const KEYS_PER_CALL_MAX: usize = 10_001;
/// Unwrapped keys that are remembered, at most: mail is read back right after it was written.
const REMEMBERED_KEYS_MAX: usize = 16_384;

/// A client for `channel` with the project's message limits.
pub(crate) fn trust_client(channel: RpcChannel) -> TrustServiceClient<RpcChannel> {
    TrustServiceClient::new(channel)
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
}

/// Wraps and unwraps. Cheap to clone; clones share what is remembered.
#[derive(Clone)]
pub(crate) struct KeyCustody {
    trust: TrustServiceClient<RpcChannel>,
    remembered: Arc<Mutex<Remembered>>,
}

/// The wrapped key of a blob, and what is needed to unwrap it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Locked {
    pub(crate) scope: BlobScope,
    pub(crate) kek_version: u32,
    pub(crate) wrapped: WrappedKey,
}

impl KeyCustody {
    pub(crate) fn new(channel: RpcChannel) -> Self {
        Self { trust: trust_client(channel), remembered: Arc::default() }
    }

    /// Wraps keys under the tenant's current wrapping key, in order, and answers that key's version.
    pub(crate) async fn wrap(
        &self,
        scope: &BlobScope,
        deks: &[Dek],
    ) -> Result<(u32, Vec<WrappedKey>), StorageError> {
        let keys = deks.iter().map(|dek| dek.as_bytes().to_vec().into()).collect();
        let request = WrapKeysRequest { tenant: scope.to_string(), keys };
        let answer = self.trust.clone().wrap_keys(request).await;
        let answer =
            answer.map_err(|status| StorageError::Trust { action: "wrap keys", status })?.into_inner();
        let wrapped: Option<Vec<WrappedKey>> =
            answer.wrapped.iter().map(|bytes| bytes.as_ref().try_into().ok()).collect();
        let wrapped = wrapped
            .filter(|wrapped| wrapped.len() == deks.len())
            .ok_or(StorageError::TrustAnswer("other than one wrapped key of 40 bytes for each key"))?;
        for (wrapped, dek) in wrapped.iter().zip(deks) {
            let locked = Locked { scope: scope.clone(), kek_version: answer.kek_version, wrapped: *wrapped };
            self.remember(locked, dek);
        }
        Ok((answer.kek_version, wrapped))
    }

    /// The key of one blob: remembered, or asked of trust. `None`: trust says that these bytes are no key of the
    /// tenant.
    pub(crate) async fn unwrap(&self, locked: Locked) -> Result<Option<Dek>, StorageError> {
        let remembered =
            self.remembered.lock().unwrap_or_else(PoisonError::into_inner).known.get(&locked).cloned();
        if remembered.is_some() {
            return Ok(remembered);
        }
        let keys = self.unwrap_call(&locked.scope, locked.kek_version, &[locked.wrapped]).await?;
        let dek = keys.and_then(|mut keys| keys.pop());
        if let Some(dek) = &dek {
            self.remember(locked, dek);
        }
        Ok(dek)
    }

    /// Unwraps anew, never from memory: for checks. `None` where trust does not unwrap.
    pub(crate) async fn unwrap_all(
        &self,
        scope: &BlobScope,
        kek_version: u32,
        wrapped: &[WrappedKey],
    ) -> Result<Vec<Option<Dek>>, StorageError> {
        let mut keys = vec![None; wrapped.len()];
        // One broken key fails its whole call: halves narrow it down.
        let mut ranges: Vec<_> = (0..wrapped.len())
            .step_by(KEYS_PER_CALL_MAX)
            .map(|from| from..wrapped.len().min(from + KEYS_PER_CALL_MAX))
            .collect();
        while let Some(range) = ranges.pop() {
            match self.unwrap_call(scope, kek_version, &wrapped[range.clone()]).await? {
                Some(unwrapped) => {
                    keys[range].iter_mut().zip(unwrapped).for_each(|(key, dek)| *key = Some(dek));
                }
                None if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    ranges.extend([range.start..middle, middle..range.end]);
                }
                None => {}
            }
        }
        Ok(keys)
    }

    /// `None` if trust refuses for good.
    async fn unwrap_call(
        &self,
        scope: &BlobScope,
        kek_version: u32,
        wrapped: &[WrappedKey],
    ) -> Result<Option<Vec<Dek>>, StorageError> {
        let request = UnwrapKeysRequest {
            tenant: scope.to_string(),
            kek_version,
            wrapped: wrapped.iter().map(|key| key.to_vec().into()).collect(),
        };
        let answer = match self.trust.clone().unwrap_keys(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if says_no_key(status.code()) => return Ok(None),
            Err(status) => return Err(StorageError::Trust { action: "unwrap keys", status }),
        };
        let keys: Option<Vec<Dek>> =
            answer.keys.iter().map(|bytes| bytes.as_ref().try_into().ok().map(Dek::new)).collect();
        let complete = keys.filter(|keys| keys.len() == wrapped.len());
        complete
            .map(Some)
            .ok_or(StorageError::TrustAnswer("other than one key of 32 bytes for each wrapped key"))
    }

    /// Nothing that was unwrapped before is remembered any more: keys were destroyed.
    pub(crate) fn forget_all(&self) {
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = Remembered::default();
    }

    fn remember(&self, locked: Locked, dek: &Dek) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).add(locked, dek.clone());
    }
}

/// Whether trust looked at the wrapped bytes and found no key, as against being away.
fn says_no_key(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::DataLoss)
}

/// The latest keys; the oldest goes first.
#[derive(Default)]
struct Remembered {
    known: HashMap<Locked, Dek>,
    order: VecDeque<Locked>,
}

impl Remembered {
    fn add(&mut self, locked: Locked, dek: Dek) {
        if self.known.insert(locked.clone(), dek).is_some() {
            return;
        }
        self.order.push_back(locked);
        if self.order.len() > REMEMBERED_KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_so_many_keys_are_remembered_and_the_oldest_goes_first() {
        let mut remembered = Remembered::default();
        let locked = |number: usize| {
            let mut wrapped = [0; 40];
            wrapped[..8].copy_from_slice(&number.to_be_bytes());
            Locked { scope: BlobScope::Archive, kek_version: 1, wrapped }
        };
        for number in 0..=REMEMBERED_KEYS_MAX {
            remembered.add(locked(number), Dek::new([1; 32]));
            remembered.add(locked(number), Dek::new([1; 32]));
        }
        assert_eq!(
            (remembered.known.len(), remembered.order.len()),
            (REMEMBERED_KEYS_MAX, REMEMBERED_KEYS_MAX)
        );
        assert!(!remembered.known.contains_key(&locked(0)));
        assert!(remembered.known.contains_key(&locked(1)));
    }
}
