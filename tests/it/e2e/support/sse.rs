//! Reads server-sent events, by the rules of the standard, and keeps what a test may look at.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{PATIENCE, contract};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    /// Its id.
    pub(crate) id: Option<String>,
    /// Its name.
    pub(crate) event: String,
    /// Its data.
    pub(crate) data: String,
    /// What it says about reconnecting.
    pub(crate) retry: Option<String>,
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The answer's status.
    pub(crate) status: u16,
    /// The answer's headers.
    pub(crate) headers: HeaderMap,
    /// Comment lines so far.
    pub(crate) comments: usize,
    path: String,
    body: Incoming,
    buffer: Vec<u8>,
    frames: VecDeque<Frame>,
    /// The event whose lines are coming in.
    open: Frame,
}

impl Stream {
    /// Reads the body of the answer to a request for `path`; each event is held against the API's
    /// document.
    pub(crate) fn new(path: &str, response: axum::http::Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            comments: 0,
            path: path.to_owned(),
            body,
            buffer: Vec::new(),
            frames: VecDeque::new(),
            open: Frame::default(),
        }
    }

    /// The next chunk of bytes; `None` at the end, however it came.
    async fn chunk(&mut self) -> Option<()> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
        let frame = frame.expect("the stream is silent")?.ok()?;
        self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.line(std::str::from_utf8(&line).unwrap().trim_end_matches('\n'));
        }
        Some(())
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.open);
            assert!(!frame.data.is_empty(), "an event without data: {frame:?}");
            contract::hold_event(&self.path, &frame);
            return self.frames.push_back(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => self.comments += 1,
            "id" => self.open.id = Some(value),
            "event" => self.open.event = value,
            "data" => self.open.data.push_str(&value),
            "retry" => self.open.retry = Some(value),
            other => panic!("not a field of an event: {other:?}"),
        }
    }

    /// The next event; `None` once the server has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        while self.frames.is_empty() {
            self.chunk().await?;
        }
        self.frames.pop_front()
    }

    /// Waits for a comment line.
    pub(crate) async fn comment(&mut self) {
        while self.comments == 0 {
            self.chunk().await.expect("the stream ended");
        }
    }

    /// Everything to the end of the stream.
    pub(crate) async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Waits for an event of this name.
    pub(crate) async fn wait_for(&mut self, event: &str) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("ended without {event}"));
            if frame.event == event {
                return frame;
            }
        }
    }
}
