//! Requests: what is no request, what is not offered, and what ends the session.
