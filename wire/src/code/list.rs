//! The list of codes. Numbers are area times 1000 plus number; append within an area only; numbers may be left out.

/// Why something was refused, closed or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Code {
    /// `SF-TLS-001`: no client certificate was presented.
    TlsCertificateMissing = 1001,
    /// `SF-TLS-002`: the client certificate's issuer is not trusted.
    TlsIssuerUnknown = 1002,
    /// `SF-TLS-003`: the client certificate has expired.
    TlsCertificateExpired = 1003,
    /// `SF-TLS-004`: the client certificate is not yet valid.
    TlsCertificateNotYetValid = 1004,
    /// `SF-TLS-005`: the client certificate has been revoked.
    TlsCertificateRevoked = 1005,
    /// `SF-TLS-006`: the certificate is not meant for client authentication.
    TlsPurposeWrong = 1006,
    /// `SF-TLS-007`: the revocation status of the certificate cannot be determined.
    TlsRevocationUnknown = 1007,
    /// `SF-TLS-008`: the revocation list is out of date.
    TlsCrlExpired = 1008,
    /// `SF-TLS-009`: a signature in the handshake or the certificate chain does not verify.
    TlsSignatureInvalid = 1009,
    /// `SF-TLS-010`: the client certificate cannot be parsed.
    TlsCertificateMalformed = 1010,
    /// `SF-TLS-011`: the handshake was not completed in time.
    TlsHandshakeTimeout = 1011,
    /// `SF-TLS-012`: the server has as many connections as it may have.
    TlsConnectionsFull = 1012,
    /// `SF-TLS-013`: the address has as many connections as it may have.
    TlsAddressConnectionsFull = 1013,
    /// `SF-TLS-014`: the address opens connections too fast.
    TlsHandshakeRate = 1014,
    /// `SF-TLS-015`: the peers have no TLS version, cipher suite or key exchange in common.
    TlsParametersUnsupported = 1015,
    /// `SF-TLS-016`: no rule maps the certificate to a principal.
    TlsPrincipalMissing = 1016,
    /// `SF-TLS-017`: several rules map the certificate to different principals.
    TlsPrincipalAmbiguous = 1017,
    /// `SF-TLS-018`: an attribute of the certificate is not acceptable as a name.
    TlsAttributeRefused = 1018,
    /// `SF-TLS-019`: the certificate's key is too weak.
    TlsKeyWeak = 1019,
    /// `SF-TLS-020`: the certificate is valid for longer than allowed.
    TlsLifetimeTooLong = 1020,
    /// `SF-TLS-021`: the peer does not speak TLS as it should.
    TlsProtocolError = 1021,
    /// `SF-TLS-022`: the certificate chain violates a constraint.
    TlsChainInvalid = 1022,
    /// `SF-TLS-023`: the issuing CA may not vouch for this firm.
    TlsIssuerNotAllowedForFirm = 1023,
    /// `SF-TLS-024`: the peer left before the handshake was complete.
    TlsPeerLeft = 1024,
    /// `SF-TLS-025`: the certificate stands in the server's deny-list.
    TlsCertificateDenied = 1025,
    /// `SF-TLS-035`: the server has as many handshakes in progress as it may have.
    TlsHandshakesFull = 1035,
    /// `SF-TLS-036`: handshakes are begun too fast, over all addresses.
    TlsServerHandshakeRate = 1036,
    /// `SF-TLS-037`: the address is banned for a while.
    TlsAddressBanned = 1037,
    /// `SF-TLS-038`: a load balancer did not say for whom the connection is.
    TlsProxyHeaderInvalid = 1038,
    /// `SF-TLS-039`: the server is close to its bounds and lets in nobody new.
    TlsPressure = 1039,
    /// `SF-TLS-040`: too many handshakes of the address failed.
    TlsAddressFailures = 1040,
    /// `SF-SES-001`: there is nothing at this path.
    SesPathUnknown = 2001,
    /// `SF-SES-002`: the request is not a valid WebSocket upgrade.
    SesUpgradeMalformed = 2002,
    /// `SF-SES-003`: the origin is not allowed.
    SesOriginRefused = 2003,
    /// `SF-SES-004`: none of the offered sub-protocols is supported.
    SesSubprotocolUnsupported = 2004,
    /// `SF-SES-005`: the principal has no entitlement on this server.
    SesEntitlementMissing = 2005,
    /// `SF-SES-006`: the address has as many sessions as it may have.
    SesAddressSessionsFull = 2006,
    /// `SF-SES-007`: the principal has as many sessions as it may have.
    SesPrincipalSessionsFull = 2007,
    /// `SF-SES-008`: the server is shutting down.
    SesDraining = 2008,
    /// `SF-SES-009`: the upgrade request did not arrive in time.
    SesUpgradeTimeout = 2009,
    /// `SF-SES-010`: the upgrade request is too large.
    SesUpgradeTooLarge = 2010,
    /// `SF-SES-011`: the message is not valid JSON.
    SesJsonMalformed = 2011,
    /// `SF-SES-012`: the message is not a JSON object.
    SesNotAnObject = 2012,
    /// `SF-SES-013`: bytes follow the JSON object.
    SesTrailingBytes = 2013,
    /// `SF-SES-014`: a key occurs twice in the same object.
    SesKeyDuplicate = 2014,
    /// `SF-SES-015`: the request has a field that its op does not know.
    SesFieldUnknown = 2015,
    /// `SF-SES-016`: a required field is missing.
    SesFieldMissing = 2016,
    /// `SF-SES-017`: a field has the wrong JSON type.
    SesFieldTypeWrong = 2017,
    /// `SF-SES-018`: a field has a value that it may not have.
    SesFieldValueInvalid = 2018,
    /// `SF-SES-019`: the op is unknown.
    SesOpUnknown = 2019,
    /// `SF-SES-020`: the op is not offered by this server.
    SesOpNotOffered = 2020,
    /// `SF-SES-021`: the id is neither an integer nor a text of at most 36 characters.
    SesIdInvalid = 2021,
    /// `SF-SES-022`: the message is larger than allowed.
    SesMessageTooBig = 2022,
    /// `SF-SES-023`: clients may not send binary frames.
    SesBinaryFrame = 2023,
    /// `SF-SES-024`: too many messages.
    SesMessageRate = 2024,
    /// `SF-SES-025`: too many malformed or unauthenticated messages.
    SesMalformedRepeated = 2025,
    /// `SF-SES-026`: the client reads too slowly.
    SesSlowConsumer = 2026,
    /// `SF-SES-027`: the client did not subscribe or send an order in time.
    SesSubscribeDeadline = 2027,
    /// `SF-SES-028`: the client did not answer.
    SesHeartbeatLost = 2028,
    /// `SF-SES-029`: the client violated the WebSocket protocol.
    SesProtocolViolation = 2029,
    /// `SF-SES-030`: a text frame is not UTF-8.
    SesUtf8Invalid = 2030,
    /// `SF-SES-031`: the session reached its greatest age.
    SesLifetimeReached = 2031,
    /// `SF-SES-032`: the client certificate was revoked during the session.
    SesCertificateRevoked = 2032,
    /// `SF-SES-033`: the client certificate expired during the session.
    SesCertificateExpired = 2033,
    /// `SF-SES-034`: the entitlement was withdrawn during the session.
    SesEntitlementWithdrawn = 2034,
    /// `SF-SES-035`: an operator ended the session.
    SesOperatorEnded = 2035,
    /// `SF-SES-036`: a newer session of the principal took over.
    SesSuperseded = 2036,
    /// `SF-SES-037`: the client kept sending after rate-limit errors.
    SesRateRepeated = 2037,
    /// `SF-SES-038`: the server can no longer continue the streams of this connection.
    SesPositionLost = 2038,
    /// `SF-SES-039`: the client left without a close frame.
    SesPeerLeft = 2039,
    /// `SF-SES-040`: what the certificate is entitled to does not hold at this time.
    SesEntitlementOutOfDates = 2040,
    /// `SF-SES-044`: too many pings and pongs.
    SesControlRate = 2044,
    /// `SF-SES-045`: a message in too many frames.
    SesFragmentsTooMany = 2045,
    /// `SF-SES-046`: a message did not become whole in time.
    SesMessageTimeout = 2046,
    /// `SF-SES-047`: the principal is banned for a while.
    SesPrincipalBanned = 2047,
    /// `SF-SES-048`: too many messages over all sessions of the principal.
    SesPrincipalMessageRate = 2048,
    /// `SF-SES-049`: the client broke TLS.
    SesTlsBroken = 2049,
    /// `SF-SES-050`: no token came where one is needed.
    SesTokenMissing = 2050,
    /// `SF-SES-051`: the token cannot be read.
    SesTokenMalformed = 2051,
    /// `SF-SES-052`: the token's signature algorithm is not allowed here.
    SesTokenAlgorithmRefused = 2052,
    /// `SF-SES-053`: the token was signed by a key that is not known here.
    SesTokenKeyUnknown = 2053,
    /// `SF-SES-054`: the token's signature is wrong.
    SesTokenSignatureInvalid = 2054,
    /// `SF-SES-055`: the token does not hold at this time.
    SesTokenOutOfTime = 2055,
    /// `SF-SES-056`: the token is not meant for this server.
    SesTokenNotForHere = 2056,
    /// `SF-SES-057`: the token belongs to another certificate or principal.
    SesTokenNotYours = 2057,
    /// `SF-SES-058`: the token was withdrawn.
    SesTokenWithdrawn = 2058,
    /// `SF-SUB-001`: the channel is unknown.
    SubChannelUnknown = 3001,
    /// `SF-SUB-002`: the symbol is unknown.
    SubSymbolUnknown = 3002,
    /// `SF-SUB-003`: the symbol is not in the entitlement.
    SubSymbolNotEntitled = 3003,
    /// `SF-SUB-004`: the channel is not in the entitlement.
    SubChannelNotEntitled = 3004,
    /// `SF-SUB-005`: the depth exceeds the entitlement.
    SubDepthNotEntitled = 3005,
    /// `SF-SUB-006`: a subscription to every symbol is not in the entitlement.
    SubWildcardNotEntitled = 3006,
    /// `SF-SUB-007`: the connection has as many subscriptions as it may have.
    SubSubscriptionsFull = 3007,
    /// `SF-SUB-008`: the depth is none of 10, 50 and 0.
    SubDepthInvalid = 3008,
    /// `SF-SUB-009`: this server does not offer conflation.
    SubConflationNotOffered = 3009,
    /// `SF-SUB-010`: this server does not offer that treatment of slow readers.
    SubOnSlowNotOffered = 3010,
    /// `SF-SUB-011`: there is no such subscription.
    SubNotSubscribed = 3011,
    /// `SF-SUB-012`: the channel is not offered by this server.
    SubChannelNotOffered = 3012,
    /// `SF-SUB-013`: a symbol is not 1 to 32 of A-Z a-z 0-9 . _ - / :.
    SubSymbolMalformed = 3013,
    /// `SF-SUB-014`: the list of symbols is empty, repeats a symbol or mixes * with names.
    SubSymbolsInvalid = 3014,
    /// `SF-SUB-015`: `resume` is not a map of subscribed symbols to epoch and seq.
    SubResumeInvalid = 3015,
    /// `SF-SUB-016`: the option has no meaning for this channel.
    SubOptionNotApplicable = 3016,
    /// `SF-SUB-017`: `conflate_ms` is none of 0, 100, 250 and 1000.
    SubConflationInvalid = 3017,
    /// `SF-SUB-018`: the missed messages are not held.
    SubResumeNotHeld = 3018,
    /// `SF-SUB-019`: the epoch asked for is over.
    SubResumeEpochOver = 3019,
    /// `SF-SUB-020`: a private channel takes symbols `["*"]` only.
    SubPrivateWildcardOnly = 3020,
    /// `SF-SUB-021`: the stream cannot be had as DBN records.
    SubRecordsNotOffered = 3021,
    /// `SF-SUB-022`: more was missed than may wait for the connection.
    SubResumeTooLarge = 3022,
    /// `SF-SUB-023`: the conflation interval is shorter than the entitlement's.
    SubConflationNotEntitled = 3023,
    /// `SF-SUB-024`: the record of market data is being read for too many others.
    SubResumeBusy = 3024,
    /// `SF-SUB-025`: delayed market data cannot be had now.
    SubDelayUnavailable = 3025,
    /// `SF-SUB-026`: the delay of the market data is another one now.
    SubDelayChanged = 3026,
    /// `SF-SUB-030`: the resting orders are too many to be sent now.
    SubOrdersTooMany = 3030,
    /// `SF-ORD-001`: the MAC does not verify.
    OrdMacInvalid = 4001,
    /// `SF-ORD-002`: the timestamp is too old.
    OrdTimestampStale = 4002,
    /// `SF-ORD-003`: the nonce was already used.
    OrdNonceReplayed = 4003,
    /// `SF-ORD-004`: the timestamp lies in the future.
    OrdTimestampFuture = 4004,
    /// `SF-ORD-005`: the server cannot remember more nonces at this time.
    OrdReplayCacheFull = 4005,
    /// `SF-ORD-006`: ts is not a decimal string of nanoseconds.
    OrdTimestampMalformed = 4006,
    /// `SF-ORD-007`: nonce is not 32 lower-case hexadecimal digits.
    OrdNonceMalformed = 4007,
    /// `SF-ORD-008`: mac is not 64 lower-case hexadecimal digits.
    OrdMacMalformed = 4008,
    /// `SF-ORD-009`: the request is not signed.
    OrdMacMissing = 4009,
    /// `SF-ORD-010`: this server does not check sig.
    OrdSignatureNotOffered = 4010,
    /// `SF-ORD-011`: body is not a JSON object.
    OrdBodyNotObject = 4011,
    /// `SF-ORD-012`: a key occurs twice in body.
    OrdBodyKeyDuplicate = 4012,
    /// `SF-ORD-013`: body has a field that the op does not know.
    OrdBodyFieldUnknown = 4013,
    /// `SF-ORD-014`: a required field of body is missing.
    OrdBodyFieldMissing = 4014,
    /// `SF-ORD-015`: a field of body has the wrong JSON type.
    OrdBodyFieldTypeWrong = 4015,
    /// `SF-ORD-016`: a field of body has a value that it may not have.
    OrdBodyFieldValueInvalid = 4016,
    /// `SF-ORD-017`: `cl_ord_id` is not 1 to 36 of A-Z a-z 0-9 . _ : -.
    OrdClientOrderIdInvalid = 4017,
    /// `SF-ORD-018`: the client order id was used with another body.
    OrdClientOrderIdReused = 4018,
    /// `SF-ORD-019`: the price is not a decimal number as the protocol writes them.
    OrdPriceInvalid = 4019,
    /// `SF-ORD-020`: the price has more decimals than the instrument.
    OrdPriceDecimals = 4020,
    /// `SF-ORD-021`: the price is not a multiple of the tick.
    OrdPriceOffTick = 4021,
    /// `SF-ORD-022`: a limit order needs a price.
    OrdPriceMissing = 4022,
    /// `SF-ORD-023`: a market order has no price.
    OrdPriceNotAllowed = 4023,
    /// `SF-ORD-024`: the quantity is not a decimal number as the protocol writes them.
    OrdQuantityInvalid = 4024,
    /// `SF-ORD-025`: the quantity has more decimals than the instrument.
    OrdQuantityDecimals = 4025,
    /// `SF-ORD-026`: the quantity is not a multiple of the lot.
    OrdQuantityOffLot = 4026,
    /// `SF-ORD-027`: the quantity is zero.
    OrdQuantityZero = 4027,
    /// `SF-ORD-028`: the order type is not offered for this instrument.
    OrdTypeNotOffered = 4028,
    /// `SF-ORD-029`: the time in force is not offered for this order type.
    OrdTifNotOffered = 4029,
    /// `SF-ORD-030`: an option of the order is not offered.
    OrdFeatureNotOffered = 4030,
    /// `SF-ORD-031`: too many orders.
    OrdOrderRate = 4031,
    /// `SF-ORD-032`: the principal may not send orders.
    OrdNotEntitled = 4032,
    /// `SF-ORD-033`: the symbol is unknown.
    OrdSymbolUnknown = 4033,
    /// `SF-ORD-034`: the principal may not trade the symbol.
    OrdSymbolNotEntitled = 4034,
    /// `SF-ORD-035`: the symbol cannot be traded here.
    OrdSymbolNotTradable = 4035,
    /// `SF-ORD-036`: there is no such order.
    OrdOrderUnknown = 4036,
    /// `SF-ORD-037`: the order is no longer open.
    OrdTooLateToCancel = 4037,
    /// `SF-ORD-038`: there is nothing to trade against.
    OrdNoLiquidity = 4038,
    /// `SF-ORD-039`: the venue cannot take more orders at this time.
    OrdVenueBusy = 4039,
    /// `SF-ORD-040`: the order's deadline has passed.
    OrdDeadlinePassed = 4040,
    /// `SF-ORD-060`: a post-only order would trade at once.
    OrdPostOnlyWouldTake = 4060,
    /// `SF-ORD-061`: the whole quantity of a fill-or-kill order cannot trade at once.
    OrdFillOrKillShort = 4061,
    /// `SF-ORD-062`: the price lies outside the instrument's band.
    OrdPriceOutOfBand = 4062,
    /// `SF-ORD-063`: the auction call takes no order of this kind.
    OrdNotInAuction = 4063,
    /// `SF-ORD-064`: the instrument is halted.
    OrdInstrumentHalted = 4064,
    /// `SF-ORD-065`: the instrument is closed.
    OrdInstrumentClosed = 4065,
    /// `SF-ORD-066`: options of the order exclude each other.
    OrdOptionsContradict = 4066,
    /// `SF-ORD-070`: the signature is malformed.
    OrdSignatureMalformed = 4070,
    /// `SF-ORD-071`: the certificate's key makes no signature that is checked here.
    OrdSignatureKeyUnsupported = 4071,
    /// `SF-ORD-072`: the replace changes nothing.
    OrdReplaceEmpty = 4072,
    /// `SF-ORD-073`: the time of the dead-man timer is out of range.
    OrdDeadManTimeoutInvalid = 4073,
    /// `SF-ORD-074`: the operator's reason is missing or cannot be printed.
    OrdReasonInvalid = 4074,
    /// `SF-ORD-075`: the target does not fit the scope.
    OrdKillTargetInvalid = 4075,
    /// `SF-ORD-076`: the principal is not entitled to this operator verb.
    OrdAdminNotEntitled = 4076,
    /// `SF-ORD-077`: as many reloads are asked for as can wait.
    OrdReloadBusy = 4077,
    /// `SF-RSK-001`: the quantity exceeds the limit of one order.
    RskQuantityMax = 5001,
    /// `SF-RSK-002`: the notional value exceeds the limit of one order.
    RskNotionalMax = 5002,
    /// `SF-RSK-003`: the principal has as many open orders as it may have.
    RskOpenOrdersMax = 5003,
    /// `SF-RSK-004`: the venue holds as many open orders as it may hold.
    RskVenueOrdersMax = 5004,
    /// `SF-RSK-005`: the symbol is restricted for the principal.
    RskSymbolRestricted = 5005,
    /// `SF-RSK-006`: the price is too far from the market.
    RskPriceCollar = 5006,
    /// `SF-RSK-007`: the position could exceed the limit of the principal.
    RskPositionMax = 5007,
    /// `SF-RSK-008`: the exposure would exceed the limit of the principal.
    RskExposureMax = 5008,
    /// `SF-RSK-009`: the principal has lost as much today as it may lose.
    RskLossMax = 5009,
    /// `SF-RSK-010`: the same order came too often in a short time.
    RskDuplicate = 5010,
    /// `SF-RSK-011`: too many different orders came to tell which of them are the same.
    RskDuplicatesFull = 5011,
    /// `SF-RSK-012`: the symbol is restricted for the firm.
    RskFirmSymbolRestricted = 5012,
    /// `SF-RSK-013`: the firm has as many open orders as it may have.
    RskFirmOpenOrdersMax = 5013,
    /// `SF-RSK-014`: the position could exceed the limit of the firm.
    RskFirmPositionMax = 5014,
    /// `SF-RSK-015`: the exposure would exceed the limit of the firm.
    RskFirmExposureMax = 5015,
    /// `SF-RSK-016`: the firm has lost as much today as it may lose.
    RskFirmLossMax = 5016,
    /// `SF-RSK-017`: the firm has sent as many orders as it may send in a second.
    RskFirmOrderRate = 5017,
    /// `SF-RSK-018`: an operator has stopped this trading.
    RskKilled = 5018,
    /// `SF-RSK-019`: the kill switch has a target that cannot exist.
    RskKillTargetInvalid = 5019,
    /// `SF-RSK-020`: as many kill switches are engaged as can be.
    RskKillsFull = 5020,
    /// `SF-RSK-021`: the order could do more than reduce the position.
    RskReduceOnly = 5021,
    /// `SF-PUB-001`: the book disagrees with the exchange's checksum.
    PubChecksumMismatch = 6001,
    /// `SF-PUB-002`: updates of a market data source are missing.
    PubSequenceGap = 6002,
    /// `SF-PUB-003`: an update of a market data source came twice.
    PubSequenceRepeated = 6003,
    /// `SF-PUB-004`: a market data source goes backwards.
    PubSequenceBackwards = 6004,
    /// `SF-PUB-005`: an update came without a snapshot in front of it.
    PubSnapshotMissing = 6005,
    /// `SF-PUB-006`: a book has more levels than are held.
    PubBookFull = 6006,
    /// `SF-PUB-007`: a market data source is silent.
    PubSourceStalled = 6007,
    /// `SF-PUB-008`: a recording ends inside a record.
    PubSourceTruncated = 6008,
    /// `SF-PUB-009`: a record of a market data source cannot be used.
    PubRecordUnusable = 6009,
    /// `SF-PUB-010`: a market data source cannot be read.
    PubSourceUnreadable = 6010,
    /// `SF-PUB-011`: the principal may not publish.
    PubNotEntitled = 6011,
    /// `SF-PUB-012`: the principal may not publish the symbol.
    PubSymbolNotEntitled = 6012,
    /// `SF-PUB-013`: the symbol is not published by this principal.
    PubSymbolNotYours = 6013,
    /// `SF-PUB-014`: a message is none that can be published.
    PubMessageInvalid = 6014,
    /// `SF-PUB-015`: the `pub_seq` was used with another body.
    PubSequenceReused = 6015,
    /// `SF-PUB-016`: the publisher is gone.
    PubPublisherGone = 6016,
    /// `SF-AUD-001`: the audit log is not available.
    AudLogUnavailable = 7001,
    /// `SF-AUD-002`: the audit log is low on space.
    AudLowSpace = 7002,
    /// `SF-AUD-003`: the audit log failed.
    AudLogFailed = 7003,
    /// `SF-AUD-004`: the state of the audit log forbids to start.
    AudStartRefused = 7004,
    /// `SF-AUD-005`: another process has the audit log open.
    AudLogLocked = 7005,
    /// `SF-AUD-006`: the clock does not keep its tolerance.
    AudClockTolerance = 7006,
    /// `SF-AUD-007`: the record of market data failed.
    AudTapeFailed = 7007,
    /// Orders and answers of the runs before cannot be rebuilt from the log.
    AudStateRefused = 7008,
    /// `SF-CFG-001`: the configuration has an unknown key.
    CfgKeyUnknown = 8001,
    /// `SF-CFG-002`: a file cannot be read.
    CfgFileUnreadable = 8002,
    /// `SF-CFG-003`: a configuration value is invalid.
    CfgValueInvalid = 8003,
    /// `SF-CFG-004`: the configuration is not valid TOML.
    CfgSyntaxInvalid = 8004,
    /// `SF-CFG-005`: private key and certificate do not belong together.
    CfgKeyMismatch = 8005,
    /// `SF-CFG-006`: entitlement rules contradict each other.
    CfgRulesAmbiguous = 8006,
    /// `SF-CFG-007`: a certificate cannot be used.
    CfgCertificateUnusable = 8007,
    /// `SF-CFG-008`: a revocation list cannot be used.
    CfgCrlUnusable = 8008,
    /// `SF-CFG-009`: a secret file can be read by others.
    CfgFileExposed = 8009,
    /// `SF-CFG-010`: the address cannot be listened on.
    CfgListenFailed = 8010,
    /// `SF-CFG-011`: the order master secret cannot be used.
    CfgMasterSecretUnusable = 8011,
    /// `SF-CFG-012`: an entitlement rule is invalid.
    CfgRuleInvalid = 8012,
    /// `SF-CFG-013`: a market data source cannot be used.
    CfgSourceUnusable = 8013,
    /// `SF-CFG-014`: a directory cannot be used.
    CfgDirectoryUnusable = 8014,
    /// `SF-CFG-015`: an instrument is defined wrongly.
    CfgInstrumentInvalid = 8015,
    /// `SF-CFG-016`: a required configuration key is missing.
    CfgKeyMissing = 8016,
    /// `SF-CFG-017`: the client CAs cannot be used.
    CfgTrustUnusable = 8017,
    /// `SF-CFG-018`: an authority is confined to firms in a way that cannot be meant.
    CfgAuthorityConfinement = 8018,
    /// `SF-CFG-019`: the deny-list cannot be used.
    CfgDenyListUnusable = 8019,
    /// `SF-CFG-023`: an entitlement rule names a product that there is not.
    CfgProductUnknown = 8023,
    /// `SF-CFG-024`: the dates of an entitlement rule are the wrong way round.
    CfgRuleDates = 8024,
    /// `SF-CFG-028`: a receiver of alerts is configured wrongly.
    CfgWebhookInvalid = 8028,
    /// `SF-CFG-029`: the secret of a receiver of alerts cannot be used.
    CfgWebhookSecretUnusable = 8029,
    /// `SF-CFG-030`: the metrics file cannot be written.
    CfgMetricsFileUnusable = 8030,
    /// `SF-CFG-031`: the configuration of tokens cannot be meant.
    CfgTokensInvalid = 8031,
    /// `SF-CFG-032`: the keys of the token issuer cannot be used.
    CfgTokenKeysUnusable = 8032,
    /// `SF-CFG-033`: the file of withdrawn tokens cannot be used.
    CfgWithdrawnTokensUnusable = 8033,
    /// `SF-CFG-034`: the configuration has changed in what only a start reads.
    CfgNeedsRestart = 8034,
    /// `SF-CLI-001`: messages of a stream did not come.
    CliMessagesMissing = 10001,
    /// `SF-CLI-002`: the connection was lost and did not come back.
    CliConnectionLost = 10002,
    /// `SF-CLI-003`: the output file exists already.
    CliOutputExists = 10003,
    /// `SF-CLI-004`: the output file cannot be written.
    CliOutputUnwritable = 10004,
    /// `SF-CLI-005`: the arguments of the command make no sense.
    CliArgumentsInvalid = 10005,
    /// `SF-CLI-006`: no market data came.
    CliNothingReceived = 10006,
}
