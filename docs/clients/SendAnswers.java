// Send answers: each line of standard input is one operator's answer, with the scope of its recommendation.
//
//     echo '{"scope": "shop", "decision": "ddcc5842eb638859", "operator": "emma", "kind": "override", "reason": "not_ours"}' |
//         NPO_BROKER=127.0.0.1:9092 java -cp "$JARS" SendAnswers.java
//
// Needs Java 17, kafka-clients and jackson-databind.

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class SendAnswers {
    static final String BROKER = System.getenv().getOrDefault("NPO_BROKER", "127.0.0.1:9092");
    static final String TOPIC = System.getenv().getOrDefault("NPO_TOPIC_PREFIX", "npo.") + "feedback.v1";

    public static void main(String[] arguments) throws Exception {
        var json = new ObjectMapper();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Map<String, Object> settings = Map.of("bootstrap.servers", BROKER);
        try (var producer = new KafkaProducer<String, String>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                var answer = json.createObjectNode().put("time_ms", System.currentTimeMillis()).put("revision", 1);
                answer.setAll((ObjectNode) json.readTree(line));
                // The key is the recommendation's own: its scope.
                String scope = answer.remove("scope").asText();
                var stored = producer.send(new ProducerRecord<>(TOPIC, scope, answer.toString())).get();
                // It is taken when the recommendation comes with life `answered` and positions.feedback = offset + 1.
                var told = json.createObjectNode().put("decision", answer.get("decision").asText());
                System.out.println(told.put("partition", stored.partition()).put("offset", stored.offset()));
            }
        }
    }
}
