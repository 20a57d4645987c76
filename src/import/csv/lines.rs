//! Lines, one at a time and in a buffer of their own, whatever the file's encoding and line ends.

use std::io::{self, BufRead, BufReader, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use crate::import::RowFault;

/// The longest line that is read, its end not counted.
pub(super) const MAX_LINE: usize = 65_536;

/// The most fields of a line.
pub(super) const MAX_FIELDS: usize = 1024;

pub(super) struct Lines<R> {
    input: Decoder<R>,
    delimiter: u8,
    comments: bool,
    /// Of the line in the buffer, from 1.
    number: u64,
    /// Without its end, or the first part of one that is too long.
    line: Vec<u8>,
    fits: bool,
    /// The end before was a carriage return: a line feed after it belongs to it.
    after_return: bool,
    parser: Reader,
    /// The fields, without quotes.
    unquoted: Box<[u8]>,
    /// Where each field ends there.
    ends: Box<[usize]>,
}

impl<R: Read> Lines<R> {
    /// With comments, lines that begin with `#` are skipped.
    pub(super) fn new(reader: R, delimiter: u8, comments: bool) -> Self {
        Self {
            input: Decoder::new(reader),
            delimiter,
            comments,
            number: 0,
            line: Vec::new(),
            fits: true,
            after_return: false,
            parser: parser(delimiter),
            unquoted: vec![0; MAX_LINE + 2].into(),
            ends: vec![0; MAX_FIELDS].into(),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line that is not empty; says whether there was one.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        while self.read_line()? {
            self.number += 1;
            // What Excel writes, and reads, to say how fields are separated.
            if self.number == 1
                && let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] = self.line[..]
                && matches!(delimiter, b',' | b';' | b'\t' | b'|')
            {
                (self.delimiter, self.parser) = (delimiter, parser(delimiter));
                continue;
            }
            let skipped = self.line.first().is_none_or(|first| self.comments && *first == b'#');
            if !skipped {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads up to the next LF, CR or CRLF, and keeps no more than a line may have. Says whether there
    /// was anything left.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.fits = true;
        let mut any = false;
        loop {
            let piece = self.input.fill()?;
            if piece.is_empty() {
                return Ok(any);
            }
            if std::mem::take(&mut self.after_return) && piece[0] == b'\n' {
                self.input.consume(1);
                continue;
            }
            any = true;
            let end = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = &piece[..end.unwrap_or(piece.len())];
            let room = MAX_LINE - self.line.len();
            self.fits &= text.len() <= room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.after_return = end.is_some_and(|end| piece[end] == b'\r');
            let used = end.map_or(piece.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// The fields of the line.
    pub(super) fn fields(&mut self) -> Result<Vec<&[u8]>, RowFault> {
        if !self.fits {
            return Err(RowFault::TooLong);
        }
        if has_text_after_quote(&self.line, self.delimiter) {
            return Err(RowFault::TextAfterQuote);
        }
        self.line.push(b'\n');
        let (result, _, _, fields) =
            self.parser.read_record(&self.line, &mut self.unquoted, &mut self.ends);
        if result != ReadRecordResult::Record {
            self.parser.reset();
            // More fields than there is room for are too many in any case. Otherwise the line's end
            // belongs to the last field.
            return Err(if result == ReadRecordResult::OutputEndsFull {
                RowFault::TooManyFields
            } else {
                RowFault::OpenQuote
            });
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(self.ends.iter().copied()).take(fields);
        Ok(spans.map(|(start, end)| &self.unquoted[start..end]).collect())
    }
}

fn parser(delimiter: u8) -> Reader {
    ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build()
}

/// Whether a quoted field goes on after its closing quote, which the parser would read as part of it.
fn has_text_after_quote(line: &[u8], delimiter: u8) -> bool {
    enum At {
        Start,
        Unquoted,
        Quoted,
        /// A closing quote, or the first of two that stand for one.
        Quote,
    }
    let mut at = At::Start;
    for &byte in line {
        at = match at {
            At::Quoted => {
                if byte == b'"' {
                    At::Quote
                } else {
                    At::Quoted
                }
            }
            At::Start | At::Quote if byte == b'"' => At::Quoted,
            _ if byte == delimiter => At::Start,
            At::Quote => return true,
            At::Start | At::Unquoted => At::Unquoted,
        };
    }
    false
}

/// UTF-8 as it is, and UTF-16 with a byte-order mark turned into it. Marks at the start are left out.
struct Decoder<R> {
    input: BufReader<R>,
    encoding: Option<Encoding>,
    /// Decoded from UTF-16, and how much of it was consumed.
    decoded: Vec<u8>,
    consumed: usize,
    /// A byte or a surrogate that waits for its other half.
    odd: Option<u8>,
    high: Option<u16>,
    at_end: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl<R: Read> Decoder<R> {
    fn new(reader: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, reader),
            encoding: None,
            decoded: Vec::new(),
            consumed: 0,
            odd: None,
            high: None,
            at_end: false,
        }
    }

    /// The bytes that come next; none at the end.
    fn fill(&mut self) -> io::Result<&[u8]> {
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => self.detect()?,
        };
        if encoding == Encoding::Utf8 {
            // What was read in search of a mark comes first.
            if self.consumed < self.decoded.len() {
                return Ok(&self.decoded[self.consumed..]);
            }
            return self.input.fill_buf();
        }
        while self.consumed == self.decoded.len() && !self.at_end {
            self.decode(encoding)?;
        }
        Ok(&self.decoded[self.consumed..])
    }

    fn consume(&mut self, bytes: usize) {
        if self.consumed < self.decoded.len() {
            self.consumed += bytes;
        } else {
            self.input.consume(bytes);
        }
    }

    /// Reads the first bytes, which may come one at a time.
    fn detect(&mut self) -> io::Result<Encoding> {
        let mut start = Vec::with_capacity(3);
        (&mut self.input).take(3).read_to_end(&mut start)?;
        let (encoding, mark) = match start[..] {
            [0xEF, 0xBB, 0xBF] => (Encoding::Utf8, 3),
            [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2),
            _ => (Encoding::Utf8, 0),
        };
        self.encoding = Some(encoding);
        let rest = start.split_off(mark);
        if encoding == Encoding::Utf8 {
            self.decoded = rest;
        } else {
            self.odd = rest.first().copied();
        }
        Ok(encoding)
    }

    /// Decodes what there is. Halves without their other half become U+FFFD, which no value has.
    fn decode(&mut self, encoding: Encoding) -> io::Result<()> {
        self.decoded.clear();
        self.consumed = 0;
        let bytes = self.input.fill_buf()?;
        self.at_end = bytes.is_empty();
        let mut units = Vec::with_capacity(bytes.len() / 2 + 2);
        units.extend(self.high.take());
        for &byte in bytes {
            match self.odd.take() {
                None => self.odd = Some(byte),
                Some(first) if encoding == Encoding::Utf16Le => {
                    units.push(u16::from_le_bytes([first, byte]));
                }
                Some(first) => units.push(u16::from_be_bytes([first, byte])),
            }
        }
        let used = bytes.len();
        self.input.consume(used);
        if self.at_end {
            units.extend(self.odd.take().map(|_| 0xFFFD));
        } else {
            self.high = units.pop_if(|unit| (0xD800..0xDC00).contains(unit));
        }
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        self.decoded = text.collect::<String>().into_bytes();
        Ok(())
    }
}
