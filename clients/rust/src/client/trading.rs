//! Signed requests as methods: orders and what changes them, the dead-man timer, operators' verbs.

use std::time::Duration;

use sealfeed_wire::body::{
    AdminKill, AdminReload, AdminTrading, OrderCancel, OrderDeadMan, OrderMassCancel, OrderNew, OrderReplace,
};
use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::reply;
use sealfeed_wire::term::SignedOp;
use sealfeed_wire::value::RequestId;

use super::{Client, unexpected};
use crate::clock;
use crate::error::RequestError;
use crate::order::{OrderOutcome, PreparedOrder, UnknownCause, random_nonce};

impl Client {
    /// Sends a new order, once.
    ///
    /// # Errors
    /// [`RequestError`] only when the order was certainly not sent. Everything else is an [`OrderOutcome`].
    pub async fn order_new(&self, order: &OrderNew) -> Result<OrderOutcome, RequestError> {
        self.resend(&order.into()).await
    }

    /// Sends a cancel, once.
    ///
    /// # Errors
    /// [`RequestError`] only when the cancel was certainly not sent. Everything else is an [`OrderOutcome`].
    pub async fn order_cancel(&self, cancel: &OrderCancel) -> Result<OrderOutcome, RequestError> {
        self.resend(&cancel.into()).await
    }

    /// Sends a replace, once.
    ///
    /// # Errors
    /// [`RequestError`] only when the replace was certainly not sent. Everything else is an [`OrderOutcome`].
    pub async fn order_replace(&self, replace: &OrderReplace) -> Result<OrderOutcome, RequestError> {
        self.resend(&replace.into()).await
    }

    /// Sends a mass cancel, once; [`OrderOutcome::Accepted`] says how many orders it cancelled.
    ///
    /// # Errors
    /// [`RequestError`] only when the mass cancel was certainly not sent. Everything else is an [`OrderOutcome`].
    pub async fn order_mass_cancel(&self, cancel: &OrderMassCancel) -> Result<OrderOutcome, RequestError> {
        self.resend(&cancel.into()).await
    }

    /// Sends the very same body again, freshly signed: after [`OrderOutcome::Unknown`], on this connection or a
    /// new one. If the server had it before, this returns the first answer and trades nothing.
    ///
    /// # Errors
    /// [`RequestError`] only when it was certainly not sent. Everything else is an [`OrderOutcome`].
    pub async fn resend(&self, order: &PreparedOrder) -> Result<OrderOutcome, RequestError> {
        let unknown = |cause| OrderOutcome::Unknown { order: order.clone(), cause };
        match self.signed(order.op(), order.body()).await {
            Ok(ServerMessage::Order(reply)) => Ok(match reply.status {
                reply::OrderOutcome::Accepted => OrderOutcome::Accepted {
                    cl_ord_id: reply.cl_ord_id,
                    order_id: reply.order_id,
                    canceled: reply.canceled,
                    receipt: reply.receipt,
                },
                reply::OrderOutcome::Rejected | reply::OrderOutcome::Unknown => unknown(UnknownCause::Server),
            }),
            Ok(ServerMessage::Error(refusal)) => Ok(OrderOutcome::Rejected(refusal)),
            Ok(_) => {
                let cause = RequestError::ReplyUnexpected { op: order.op().as_str() };
                Ok(unknown(UnknownCause::NoReply(cause)))
            }
            Err(lost @ (RequestError::ConnectionLost(_) | RequestError::Timeout { .. })) => {
                Ok(unknown(UnknownCause::NoReply(lost)))
            }
            Err(not_sent) => Err(not_sent),
        }
    }

    /// Arms the dead-man timer of the principal: unless this comes again within `timeout`, on any connection, the server
    /// cancels all its open orders. From one second to an hour, in whole milliseconds; the server refuses others.
    ///
    /// # Errors
    /// [`RequestError`]; after a timeout or a lost connection the timer may be armed or not.
    pub async fn arm_dead_man(&self, timeout: Duration) -> Result<(), RequestError> {
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // Zero would disarm, which is not what was asked for.
        let dead_man = OrderDeadMan { timeout_ms: timeout_ms.max(1) };
        self.signed_request(SignedOp::OrderDeadMan, &dead_man.encode()).await
    }

    /// Disarms the dead-man timer of the principal.
    ///
    /// # Errors
    /// [`RequestError`]; after a timeout or a lost connection the timer may be armed or not.
    pub async fn disarm_dead_man(&self) -> Result<(), RequestError> {
        self.signed_request(SignedOp::OrderDeadMan, &OrderDeadMan { timeout_ms: 0 }.encode()).await
    }

    /// As an operator: engages or releases a kill switch.
    ///
    /// # Errors
    /// [`RequestError`]; after a timeout or a lost connection send it again: it does the same thing once more.
    pub async fn admin_kill(&self, kill: &AdminKill) -> Result<(), RequestError> {
        self.signed_request(SignedOp::AdminKill, &kill.encode()).await
    }

    /// As an operator: changes how an instrument trades.
    ///
    /// # Errors
    /// [`RequestError`]; after a timeout or a lost connection send it again: it does the same thing once more.
    pub async fn admin_trading(&self, trading: &AdminTrading) -> Result<(), RequestError> {
        self.signed_request(SignedOp::AdminTrading, &trading.encode()).await
    }

    /// As an operator: has the server read its files again.
    ///
    /// # Errors
    /// [`RequestError`], with the code of what is wrong with a file: nothing has changed then. After a timeout or a lost connection
    /// send it again: it does the same thing once more.
    pub async fn admin_reload(&self, reload: &AdminReload) -> Result<(), RequestError> {
        self.signed_request(SignedOp::AdminReload, &reload.encode()).await
    }

    /// Sends a signed request that is answered with `ok`, from an op and the text of its body.
    ///
    /// # Errors
    /// [`RequestError`]; after a timeout or a lost connection the request may have been done or not.
    pub async fn signed_request(&self, op: SignedOp, body: &str) -> Result<(), RequestError> {
        match self.signed(op, body).await? {
            ServerMessage::Done(_) => Ok(()),
            other => Err(unexpected(op.as_str(), other)),
        }
    }

    /// Signs a body now, sends it once and waits for the reply.
    async fn signed(&self, op: SignedOp, body: &str) -> Result<ServerMessage, RequestError> {
        let signer = self.signer.as_ref().ok_or(RequestError::OrderKeyMissing)?;
        let id = self.next_id();
        let text =
            signer.sign(Some(RequestId::Integer(id)), op, clock::system_time(), random_nonce()?, body)?;
        self.exchange(id, text, Vec::new()).await
    }
}
