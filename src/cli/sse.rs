//! Reads server-sent events out of the bytes of a response.

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Frame {
    /// The id, if there is one.
    pub id: Option<u64>,
    /// The name.
    pub event: String,
    /// The data.
    pub data: String,
}

/// A parser that assembles frames from chunks that may end anywhere.
#[derive(Debug, Default)]
pub(super) struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes a chunk and returns the frames that are complete now.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(chunk);
        let mut frames = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            frames.extend(frame(&String::from_utf8_lossy(&block)));
        }
        frames
    }
}

/// Reads a block of lines; `None` if it holds no data (a comment).
fn frame(block: &str) -> Option<Frame> {
    let mut frame = Frame::default();
    let mut has_data = false;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => frame.id = value.parse().ok(),
            "event" => value.clone_into(&mut frame.event),
            "data" => {
                if has_data {
                    frame.data.push('\n');
                }
                frame.data.push_str(value);
                has_data = true;
            }
            _ => {}
        }
    }
    (has_data || !frame.event.is_empty()).then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_wherever_chunks_end() {
        let stream = "retry: 2000\nid: 1\nevent: workflow_start\ndata: {\"é\":1}\n\n: hi\n\nid: 2\nevent: step_start\ndata: x\n\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let frames: Vec<Frame> =
                stream.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(frames.len(), 2, "chunks of {size}");
            assert_eq!(frames[0].id, Some(1));
            assert_eq!(frames[0].data, "{\"é\":1}");
            assert_eq!(frames[1].event, "step_start");
        }
    }
}
